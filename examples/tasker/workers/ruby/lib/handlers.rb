# frozen_string_literal: true

require_relative "tasker"

# The handlers, by the names that config/tasks/ uses.
module Handlers
  LONGEST_WORK_MS = 30_000
  # A record of the old system: account, amount in cents, name.
  RECORD = "A8A10A*"
  ONES = %w[zero one two three four five six seven eight nine].freeze

  module_function

  # `context.work_ms` makes it take its time: for trying out what happens to work in flight.
  def greet(step)
    sleep(step.context.fetch("work_ms", 0).clamp(0, LONGEST_WORK_MS) / 1000.0)
    { text: "Hello, #{step.context.fetch('name', 'workflow')}, from Ruby" }
  end

  def count_words(step)
    { words: step.result_of("greet").fetch("text").scan(/\w+/).length }
  end

  # Digits as words; for a task that goes through several languages.
  def spell(step)
    { text: step.result_of("start").fetch("value").digits.reverse.map { |digit| ONES[digit] }.join(" ") }
  end

  def parse(step)
    pairs = step.context.fetch("input", "colour=red size=10").split
    { fields: pairs.to_h { |pair| pair.split("=", 2) } }
  rescue ArgumentError
    raise step.refuse("context.input must look like name=value")
  end

  # `context.busy_attempts` makes it fail first.
  def validate(step)
    raise Tasker::StepError, "the validator is busy" if step.attempt <= step.context.fetch("busy_attempts", 0)

    fields = step.result_of("parse").fetch("fields")
    raise step.refuse("there are no fields") if fields.empty?

    { fields: fields, attempts: step.attempt }
  end

  def transform(step)
    { fields: step.result_of("validate").fetch("fields").transform_keys(&:upcase).sort.to_h }
  end

  def read_record(step)
    record = step.context.fetch("record", format("%-8s%010d%s", "AC-00042", 1999, "Ada Lovelace"))
    account, cents, name = record.unpack(RECORD)
    raise step.refuse("the amount is no number") unless cents.match?(/\A\d+\z/)

    { account: account, cents: cents.to_i, name: name }
  end

  def convert(step)
    record = step.result_of("read_record")
    { account: record.fetch("account"), amount: format("%.2f", record.fetch("cents") / 100r), owner: record.fetch("name") }
  end

  def acknowledge(step)
    { line: "ACK #{step.result_of('convert').fetch('account')}" }
  end

  ALL = {
    "ruby_workflows.greet" => method(:greet),
    "ruby_workflows.count_words" => method(:count_words),
    "ruby_workflows.spell" => method(:spell),
    "custom_handlers.parse" => method(:parse),
    "custom_handlers.validate" => method(:validate),
    "custom_handlers.transform" => method(:transform),
    "legacy_integration.read_record" => method(:read_record),
    "legacy_integration.convert" => method(:convert),
    "legacy_integration.acknowledge" => method(:acknowledge)
  }.freeze
end
