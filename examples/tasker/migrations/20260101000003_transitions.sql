-- A history of every change of state, kept by the database so that no program can forget it.
CREATE TABLE tasker_transitions (
    transition_id uuid        PRIMARY KEY DEFAULT uuid_generate_v7(),
    task_id       uuid        NOT NULL REFERENCES tasker_tasks ON DELETE CASCADE,
    step_id       uuid        REFERENCES tasker_workflow_steps ON DELETE CASCADE,
    from_status   text,
    to_status     text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX tasker_transitions_task_idx ON tasker_transitions (task_id, transition_id);

CREATE FUNCTION tasker_record_task_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tasker_transitions (task_id, from_status, to_status)
    VALUES (NEW.task_id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END
$$;

CREATE FUNCTION tasker_record_step_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tasker_transitions (task_id, step_id, from_status, to_status)
    VALUES (NEW.task_id, NEW.step_id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END
$$;

CREATE TRIGGER tasker_tasks_created AFTER INSERT ON tasker_tasks
    FOR EACH ROW EXECUTE FUNCTION tasker_record_task_transition();
CREATE TRIGGER tasker_tasks_changed AFTER UPDATE OF status ON tasker_tasks
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION tasker_record_task_transition();

CREATE TRIGGER tasker_workflow_steps_created AFTER INSERT ON tasker_workflow_steps
    FOR EACH ROW EXECUTE FUNCTION tasker_record_step_transition();
CREATE TRIGGER tasker_workflow_steps_changed AFTER UPDATE OF status ON tasker_workflow_steps
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION tasker_record_step_transition();
