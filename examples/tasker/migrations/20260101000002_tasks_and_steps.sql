CREATE TABLE tasker_tasks (
    task_id      uuid        PRIMARY KEY DEFAULT uuid_generate_v7(),
    namespace    text        NOT NULL CHECK (namespace ~ '^[a-z][a-z0-9_]*$'),
    context      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(context) = 'object'),
    status       text        NOT NULL DEFAULT 'pending'
                             CHECK (status IN ('pending', 'in_progress', 'complete', 'error')),
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT tasker_tasks_done_has_time CHECK ((status IN ('complete', 'error')) = (completed_at IS NOT NULL)),
    CONSTRAINT tasker_tasks_error_has_reason CHECK ((status = 'error') = (error IS NOT NULL))
);

CREATE INDEX tasker_tasks_namespace_idx ON tasker_tasks (namespace, task_id DESC);
-- Most tasks are finished; those that are not are the ones looked for.
CREATE INDEX tasker_tasks_open_idx ON tasker_tasks (status) WHERE status IN ('pending', 'in_progress');

CREATE TABLE tasker_workflow_steps (
    step_id         uuid        PRIMARY KEY DEFAULT uuid_generate_v7(),
    task_id         uuid        NOT NULL REFERENCES tasker_tasks ON DELETE CASCADE,
    name            text        NOT NULL,
    handler         text        NOT NULL,
    position        integer     NOT NULL CHECK (position >= 0),
    status          text        NOT NULL DEFAULT 'pending'
                                CHECK (status IN ('pending', 'enqueued', 'in_progress', 'complete', 'error', 'cancelled')),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts    integer     NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
    result          jsonb,
    error           text,
    worker_id       text,
    worker_language text,
    worker_instance text,
    enqueued_at     timestamptz,
    completed_at    timestamptz,
    UNIQUE (task_id, name),
    CONSTRAINT tasker_steps_complete_has_result CHECK (status <> 'complete' OR result IS NOT NULL),
    CONSTRAINT tasker_steps_error_has_reason CHECK (status <> 'error' OR error IS NOT NULL),
    CONSTRAINT tasker_steps_done_has_time
        CHECK ((status IN ('complete', 'error', 'cancelled')) = (completed_at IS NOT NULL))
);

CREATE INDEX tasker_workflow_steps_task_idx ON tasker_workflow_steps (task_id, status);

-- "step_id needs depends_on_step_id first"
CREATE TABLE tasker_workflow_step_edges (
    step_id            uuid NOT NULL REFERENCES tasker_workflow_steps ON DELETE CASCADE,
    depends_on_step_id uuid NOT NULL REFERENCES tasker_workflow_steps ON DELETE CASCADE,
    PRIMARY KEY (step_id, depends_on_step_id),
    CHECK (step_id <> depends_on_step_id)
);

CREATE INDEX tasker_workflow_step_edges_reverse_idx ON tasker_workflow_step_edges (depends_on_step_id);
