-- pgmq.create does nothing to a queue that exists. The worker queues follow from the task templates, which are
-- configuration: `rust-worker migrate` creates those after the migrations.
SELECT pgmq.create('orchestration_step_results_queue');
SELECT pgmq.create('orchestration_task_requests_queue');
SELECT pgmq.create('orchestration_task_finalizations_queue');
