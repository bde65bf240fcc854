-- Rendered by tasker-build from postgres/init.sql.j2: change that or the spec, not this file; body sha256:334d8e4b6bc9afe4
-- Runs once, when the data folder is made: extensions, queues and grants. Database and account are those of the server's start.

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS "pgcrypto";
CREATE EXTENSION IF NOT EXISTS "btree_gin";
CREATE EXTENSION IF NOT EXISTS "pgmq";

-- UUID version 7: PostgreSQL 18 has uuidv7(), older servers get it in plain SQL. The schema's name for it is uuid_generate_v7().
DO $do$
BEGIN
    IF to_regprocedure('uuidv7()') IS NULL THEN
        EXECUTE $make$
            CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $f$
                SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
                        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
            $f$
        $make$;
    END IF;
    IF to_regprocedure('uuid_generate_v7()') IS NULL THEN
        EXECUTE 'CREATE FUNCTION public.uuid_generate_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $f$ SELECT uuidv7() $f$';
    END IF;
END
$do$;

-- Queues of orchestration and of the workers' namespaces.
SELECT pgmq.create('orchestration_step_results_queue');
SELECT pgmq.create('orchestration_task_requests_queue');
SELECT pgmq.create('orchestration_task_finalizations_queue');
SELECT pgmq.create('worker_linear_workflow_queue');
SELECT pgmq.create('worker_diamond_workflow_queue');
SELECT pgmq.create('worker_tree_workflow_queue');
SELECT pgmq.create('worker_mixed_dag_workflow_queue');
SELECT pgmq.create('worker_order_fulfillment_queue');
SELECT pgmq.create('worker_inventory_queue');
SELECT pgmq.create('worker_notifications_queue');
SELECT pgmq.create('worker_payments_queue');
SELECT pgmq.create('worker_ruby_workflows_queue');
SELECT pgmq.create('worker_custom_handlers_queue');
SELECT pgmq.create('worker_legacy_integration_queue');
SELECT pgmq.create('worker_python_workflows_queue');
SELECT pgmq.create('worker_data_processing_queue');
SELECT pgmq.create('worker_ml_pipelines_queue');
SELECT pgmq.create('worker_analytics_queue');
SELECT pgmq.create('worker_wasm_workflows_queue');
SELECT pgmq.create('worker_sandboxed_execution_queue');
SELECT pgmq.create('worker_secure_computation_queue');

DO $do$
BEGIN
    EXECUTE format('GRANT ALL PRIVILEGES ON DATABASE %I TO %I', current_database(), 'tasker');
END
$do$;
GRANT ALL ON SCHEMA public TO "tasker";
GRANT ALL ON ALL TABLES IN SCHEMA public TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO "tasker";
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO "tasker";
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO "tasker";
GRANT USAGE ON SCHEMA pgmq TO "tasker";
GRANT ALL ON ALL TABLES IN SCHEMA pgmq TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT ALL ON TABLES TO "tasker";
GRANT ALL ON ALL SEQUENCES IN SCHEMA pgmq TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT ALL ON SEQUENCES TO "tasker";
GRANT ALL ON ALL FUNCTIONS IN SCHEMA pgmq TO "tasker";
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT ALL ON FUNCTIONS TO "tasker";

DO $do$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pgmq') THEN
        RAISE EXCEPTION 'extension pgmq is missing';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pgmq.meta WHERE queue_name = 'orchestration_step_results_queue') THEN
        RAISE EXCEPTION 'queue % is missing', 'orchestration_step_results_queue';
    END IF;
    RAISE NOTICE 'database % is ready: % queues, uuid %', current_database(), (SELECT count(*) FROM pgmq.meta), uuid_generate_v7();
END
$do$;
