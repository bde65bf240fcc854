//! A stack of the tests' own: started from the rendered compose file under random names, gone when it is dropped.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{ensure, Context};

const STACK: &str = "docker/docker-compose.integration.yml";
/// What a started stack may take until everything in it is healthy, in seconds; building comes before.
const HEALTHY_WITHIN: &str = "90";

pub struct Environment {
    project: String,
    /// Names that the stack gives to networks and volumes, replaced: nobody's data is touched, and a stack that runs may go on.
    overlay: PathBuf,
}

impl Environment {
    pub fn start() -> anyhow::Result<Self> {
        let project = format!(
            "tasker-integration-suite-{:08x}",
            RandomState::new().hash_one(0) as u32
        );
        let overlay = std::env::temp_dir().join(format!("{project}.yml"));
        std::fs::write(
            &overlay,
            format!(
                "networks: {{tasker-network: !override {{name: {project}}}}}\n\
                 volumes: {{postgres_data: !override {{name: {project}}}}}\n"
            ),
        )?;
        let environment = Self { project, overlay };
        environment.good(&["build"])?;
        if let Err(error) =
            environment.good(&["up", "--detach", "--wait", "--wait-timeout", HEALTHY_WITHIN])
        {
            let logs = environment.compose(&["logs", "--tail", "100"])?;
            return Err(error.context(String::from_utf8_lossy(&logs.stdout).into_owned()));
        }
        Ok(environment)
    }

    /// Where orchestration answers.
    pub fn url(&self) -> anyhow::Result<String> {
        let output = self.good(&["port", "orchestration", "8080"])?;
        Ok(format!(
            "http://{}",
            String::from_utf8(output.stdout)?.trim()
        ))
    }

    fn good(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = self.compose(arguments)?;
        ensure!(
            output.status.success(),
            "docker compose {} failed:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    fn compose(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("docker");
        command.args([
            "compose",
            "--progress",
            "plain",
            "--project-name",
            &self.project,
            "--file",
            STACK,
            "--file",
        ]);
        command
            .arg(&self.overlay)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        // Port 0: the engine chooses, so that several can run at once.
        for port in ["POSTGRES_PORT", "ORCHESTRATION_PORT", "WORKER_PORT"] {
            command.env(port, "0");
        }
        command
            .output()
            .context("this test needs docker with its compose plugin; or set TASKER_TEST_URL to a running stack")
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        match self.good(&["down", "--volumes", "--remove-orphans", "--timeout", "5"]) {
            Ok(_) => drop(std::fs::remove_file(&self.overlay)),
            Err(error) => eprintln!("{}: not removed: {error:#}", self.project),
        }
    }
}
