# frozen_string_literal: true

require "fiddle"
require "json"

# The part of the worker that is Ruby: it asks the Rust library for steps and hands in what became of them.
module Tasker
  # A step that was not done. The message says why; `retryable` whether another attempt may do better.
  class StepError < StandardError
    attr_reader :retryable

    def initialize(message, retryable: true)
      super(message)
      @retryable = retryable
    end
  end

  # What a handler gets.
  class Step
    def initialize(offer)
      @offer = offer
    end

    def id = @offer.fetch("id")
    def handler = @offer.fetch("handler")
    # Counts from 1.
    def attempt = @offer.fetch("attempt")
    def context = @offer.fetch("context")

    # The result of a step that this one depends on.
    def result_of(step)
      @offer.fetch("dependency_results").fetch(step) { raise refuse("there is no result of step '#{step}'") }
    end

    # An error that another attempt cannot mend.
    def refuse(message) = StepError.new(message, retryable: false)
  end

  # The functions of the Rust library. Fiddle lets other Ruby threads run while one of them waits inside. What goes in is JSON:
  # it writes a zero byte as \u0000, so there is none before the one at its end.
  module Core
    LIBRARY = Fiddle.dlopen(ENV.fetch("TASKER_CORE", File.join(__dir__, "tasker_core_rb.so")))

    def self.function(name, arguments, result)
      Fiddle::Function.new(LIBRARY[name], arguments, result)
    end
    private_class_method :function

    START = function("tasker_start", [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
    NEXT = function("tasker_next", [-Fiddle::TYPE_INT], Fiddle::TYPE_VOIDP)
    FREE = function("tasker_free", [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID)
    COMPLETE = function("tasker_complete", [-Fiddle::TYPE_LONG_LONG, Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
    STOP = function("tasker_stop", [], Fiddle::TYPE_VOID)
    WAIT = function("tasker_wait", [], Fiddle::TYPE_INT)
    HEALTHCHECK = function("tasker_healthcheck", [], Fiddle::TYPE_INT)
    private_constant :START, :NEXT, :FREE, :COMPLETE, :STOP, :WAIT, :HEALTHCHECK

    module_function

    def start(about) = START.call("#{about}\0").zero?

    def next(milliseconds)
      text = NEXT.call(milliseconds)
      return { "ended" => true } if text.null?

      begin
        JSON.parse(text.to_s.force_encoding(Encoding::UTF_8))
      ensure
        FREE.call(text)
      end
    end

    def complete(id, answer) = COMPLETE.call(id, "#{answer}\0").zero?
    def stop = STOP.call
    def wait = WAIT.call
    def healthcheck = HEALTHCHECK.call
  end

  # Does steps with handlers: name → callable. The word before the dot of a name is its namespace.
  class Worker
    THREADS = 4
    PATIENCE_MS = 1000

    def initialize(handlers)
      @handlers = handlers
    end

    # Returns the exit code of the program.
    def run
      about = {
        namespaces: @handlers.keys.map { |name| name.split(".").first }.uniq,
        handlers: @handlers.keys,
        threads: THREADS
      }
      return 1 unless Core.start(JSON.generate(about))

      stop_on_signals
      Array.new(THREADS) { Thread.new { work } }.each(&:join)
      Core.wait
    end

    # What becomes of a step, as JSON.
    def answer(step)
      JSON.generate({ result: @handlers.fetch(step.handler).call(step) })
    rescue JSON::GeneratorError => e
      JSON.generate({ error: "the result is no JSON: #{e.message.scrub}", retryable: false })
    rescue StepError => e
      JSON.generate({ error: e.message.scrub, retryable: e.retryable })
    rescue StandardError => e
      JSON.generate({ error: "#{e.class}: #{e.message.scrub}", retryable: true })
    end

    private

    def work
      loop do
        offer = Core.next(PATIENCE_MS)
        return if offer["ended"]
        next if offer["nothing"]

        step = Step.new(offer)
        Core.complete(step.id, answer(step))
      end
    end

    def stop_on_signals
      stopping = false
      %w[TERM INT].each do |signal|
        trap(signal) do
          exit!(1) if stopping
          stopping = true
          Core.stop
        end
      end
    end
  end
end
