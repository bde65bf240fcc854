# Rendered by tasker-build from compose/env.j2: change that or the spec, not this file; body sha256:c0af23d003743bab
# Which environment `docker compose` means when it is given no file; -f or another COMPOSE_FILE wins.
COMPOSE_FILE=docker-compose.integration.yml
