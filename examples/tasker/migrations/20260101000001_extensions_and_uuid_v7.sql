-- Everything here may have been done before by the database image's own init scripts, so every statement tolerates that.
CREATE EXTENSION IF NOT EXISTS pgmq CASCADE;

-- uuid_generate_v7(): PostgreSQL 18 has uuidv7() built in, older releases need our own, and an init script or
-- the pg_uuidv7 extension may have brought one that must not be replaced.
DO $do$
BEGIN
    IF to_regprocedure('uuid_generate_v7()') IS NOT NULL THEN
        RETURN;
    END IF;

    IF to_regprocedure('pg_catalog.uuidv7()') IS NOT NULL THEN
        EXECUTE 'CREATE FUNCTION public.uuid_generate_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS ''SELECT uuidv7()''';
        RETURN;
    END IF;

    CREATE FUNCTION public.uuid_generate_v7() RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $fn$
    DECLARE
        millis bytea := substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3);
        bits   bytea := uuid_send(gen_random_uuid());
    BEGIN
        -- 48 bits of time replace the first six random bytes; the variant bits of the random uuid are right already.
        bits := millis || substring(bits FROM 7);
        bits := set_byte(bits, 6, (get_byte(bits, 6) & 15) | 112);  -- version 7
        RETURN encode(bits, 'hex')::uuid;
    END
    $fn$;
END
$do$;
