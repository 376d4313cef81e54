//! The interpreters, compilers and libraries that the programs of the page need.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use beamline_test_support::{Up, program, without_foreign};
use tempfile::TempDir;

/// A language of the page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Language {
    Python,
    TypeScript,
    Go,
}

impl Language {
    pub(super) const ALL: [(&'static str, Self); 3] = [
        ("python", Self::Python),
        ("typescript", Self::TypeScript),
        ("go", Self::Go),
    ];
}

/// A folder for one test. It lies below that of the libraries, because Node and Go look upwards.
#[derive(Debug)]
pub(super) struct Workshop<'u> {
    folder: TempDir,
    up: &'u Up,
    /// What a reader types first, in the directory of `up`.
    login: String,
}

impl<'u> Workshop<'u> {
    /// For programs that speak to this server, in shells that have logged in. A missing tool is a
    /// failure, on every platform: all of them are to be had wherever the router is built.
    pub(super) fn open(language: Option<Language>, up: &'u Up) -> Self {
        let below = match language {
            None => tools().join("bin"),
            Some(Language::Python) => tools().join("python"),
            Some(Language::TypeScript) => tools().join("typescript"),
            Some(Language::Go) => tools().join("go"),
        };
        assert!(
            below.is_dir(),
            "{} is missing: run scripts/gateways.sh, which installs what the examples of docs/api.md need",
            below.display()
        );
        Self {
            folder: TempDir::new_in(below).expect("a folder"),
            up,
            login: super::block("sh login").text,
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }

    /// Makes programs ready that are named so; their sources are there.
    pub(super) fn build(&self, language: Language, names: &[&str]) {
        match language {
            Language::Python => {}
            Language::TypeScript => self.compile_typescript(names),
            Language::Go => {
                for name in names {
                    let source = format!("{name}.go");
                    let mut go = self.plain("go");
                    go.args(["build", "-o", name, &source])
                        .envs(variables_of_go());
                    succeed(go, &source);
                }
            }
        }
    }

    /// Strictly, so that the types of the examples are right as well.
    fn compile_typescript(&self, names: &[&str]) {
        let sources: Vec<String> = names.iter().map(|name| format!("\"{name}.ts\"")).collect();
        let config = format!(
            r#"{{"extends": "../tsconfig.json", "files": [{}]}}"#,
            sources.join(", ")
        );
        self.write("tsconfig.json", &config);
        self.write("package.json", r#"{"type": "module"}"#);
        let mut compiler = self.plain("node");
        compiler.args(["../node_modules/typescript/bin/tsc", "--project", "."]);
        succeed(compiler, "the examples in TypeScript");
    }

    /// What a program prints that was made ready.
    pub(super) fn run(&self, language: Language, name: &str) -> String {
        let command = match language {
            Language::Python => {
                let mut python = self.command("python3");
                python.arg(format!("{name}.py"));
                python.env("PYTHONPATH", tools().join("python"));
                python
            }
            Language::TypeScript => {
                let mut node = self.command("node");
                node.arg(format!("{name}.js"));
                node
            }
            Language::Go => self.command(&self.folder.path().join(name).display().to_string()),
        };
        text(&succeed(command, name).stdout)
    }

    /// What a piece of a shell's session prints: results, then words about them.
    pub(super) fn shell(&self, script: &str) -> String {
        let mut shell = self.command("sh");
        let router = program("beamline-router");
        let mut folders = vec![router.parent().expect("a folder").to_owned()];
        folders.extend(path());
        // Where there is the real one, it is the first.
        folders.push(tools().join("bin"));
        shell
            .env("PATH", std::env::join_paths(folders).expect("a path"))
            .args(["-euc", script]);
        let output = succeed(shell, script);
        text(&output.stdout) + &text(&output.stderr)
    }

    /// A program in a shell in which the reader has logged in.
    fn command(&self, name: &str) -> Command {
        let mut shell = self.plain("sh");
        let script = format!(
            "cd \"$0\" && {} && cd \"$OLDPWD\" && exec \"$@\"",
            self.login.trim()
        );
        shell.args(["-c", &script]).arg(self.up.directory.path());
        shell.arg(name);
        shell
    }

    fn plain(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        without_foreign(&mut command);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".beamline/gateways")
}

fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// Where Go finds its libraries, as scripts/gateways.sh has noted it.
fn variables_of_go() -> Vec<(String, String)> {
    let noted = std::fs::read_to_string(tools().join("go/env")).unwrap_or_default();
    let pairs = noted.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn succeed(mut command: Command, what: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "{} cannot be started: {error}. Run scripts/gateways.sh, which installs what the examples of docs/api.md need.",
            command.get_program().display()
        )
    });
    assert!(
        output.status.success(),
        "{what} failed: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
