//! The solver: `cvc5` where it is installed, or the library in the Python package `cvc5`, driven by a bridge that comes
//! along.
//!
//! What is asked of proofs is whether everything that these policies allow is allowed by those as well, whatever the request
//! and whatever the entities; and of single policies, whether they match and permit anything at all. There is one question for
//! each action of the schema, and a process of its own for each question of a proof and for each policy, so that a solver that
//! failed on one cannot answer the next. No answer is taken from a solver that has not
//! first said yes and no where yes and no are known.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{Entities, Policy, PolicySet, Request, RequestEnv};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet};
use policy::{Action, Operation, Rules};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Turns the library of the Python package into a program that reads SMT-LIB.
const BRIDGE: &str = include_str!("cvc5_bridge.py");

/// Prints the version of the package, and fails where there is none. As in the bridge, the working folder does not count.
const VERSION: &str = "import sys; sys.path = [p for p in sys.path if p]; import cvc5; print('cvc5', cvc5.__version__)";

/// Longest time that one question may take, in milliseconds. What takes longer is UNKNOWN, and UNKNOWN fails.
const TIME_LIMIT: &str = "--tlimit-per=60000";

/// Longest time that is waited for a process that does not keep to its own limit.
const PATIENCE: Duration = Duration::from_secs(75);

/// How a solver is started.
#[derive(Clone, Debug)]
enum Way {
    /// This program speaks SMT-LIB on its standard input.
    Program(PathBuf),
    /// This Python has the package `cvc5`.
    Python(PathBuf),
}

/// A solver that has been tried.
#[derive(Clone, Debug)]
pub(super) struct Solver {
    way: Way,
    version: String,
}

/// What the solver says of one question.
pub(super) enum Answer {
    /// It holds for every request and every endpoint.
    Proved,
    /// It does not: this request, with these entities.
    Refuted(Box<Found>),
    /// It could not be found out.
    Unknown(String),
}

/// A request that the one set allows and the other does not, as the solver built it.
pub(super) struct Found {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

/// A set of policies as formulas, one for each action of the schema: operations first, each in their own order.
pub(super) struct Formulas(Vec<(RequestEnv, Result<CompiledPolicySet, String>)>);

impl Formulas {
    pub(super) fn of(set: &PolicySet) -> Self {
        let formula = |environment: RequestEnv| {
            let compiled = CompiledPolicySet::compile(set, &environment, Rules::schema());
            (environment, compiled.map_err(|error| error.to_string()))
        };
        Self(environments().into_iter().map(formula).collect())
    }
}

/// One for each action of the schema: operations first, each in their own order.
fn environments() -> Vec<RequestEnv> {
    let mut environments: Vec<RequestEnv> = Rules::schema().request_envs().collect();
    let operations = Operation::ALL.into_iter().map(Operation::name);
    let order: Vec<&str> = operations.chain(Action::ALL.into_iter().map(Action::name)).collect();
    environments
        .sort_by_key(|environment| order.iter().position(|name| *name == environment.action().id().unescaped()));
    environments
}

impl Solver {
    /// The solver that was named, or the first that works: `cvc5`, then a Python with the package.
    ///
    /// # Errors
    ///
    /// Why none of them works, one line for each.
    pub(super) async fn find(named: Option<&Path>) -> Result<Self, Vec<String>> {
        let ways = match named {
            Some(named) if is_python(named) => vec![Way::Python(named.into())],
            Some(named) => vec![Way::Program(named.into())],
            None => vec![Way::Program("cvc5".into()), Way::Python("python3".into())],
        };
        let mut reasons = Vec::new();
        for way in ways {
            match Self::tried(way.clone()).await {
                Ok(solver) => return Ok(solver),
                Err(why) => reasons.push(format!("`{}`: {why}", way.path().display())),
            }
        }
        Err(reasons)
    }

    /// In words, for the report.
    pub(super) fn words(&self) -> String {
        match &self.way {
            Way::Program(program) => format!("{}, the program `{}`", self.version, program.display()),
            Way::Python(python) => format!("{}, the Python package, by `{}`", self.version, python.display()),
        }
    }

    async fn tried(way: Way) -> Result<Self, String> {
        let version = way.version().await?;
        let solver = Self { way, version };
        let when = |condition: &str| -> Result<Formulas, String> {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let set: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
            let mut formulas = Formulas::of(&set);
            formulas.0.truncate(1);
            Ok(formulas)
        };
        let (wide, narrow) = (when("context.class > 1")?, when("context.class > 2")?);
        match (solver.implies(&narrow, &wide).await, solver.implies(&wide, &narrow).await) {
            (Answer::Proved, Answer::Refuted(_)) => Ok(solver),
            (Answer::Unknown(why), _) | (_, Answer::Unknown(why)) => Err(why),
            _ => Err("it gives wrong answers to questions whose answers are known".to_owned()),
        }
    }

    /// Whether everything that `inner` allows is allowed by `outer`, whatever the request and whatever the entities.
    pub(super) async fn implies(&self, inner: &Formulas, outer: &Formulas) -> Answer {
        let room = std::thread::available_parallelism().map_or(1, usize::from);
        let room = Arc::new(Semaphore::new(room));
        let mut asked = JoinSet::new();
        for (index, ((environment, inner), (_, outer))) in inner.0.iter().zip(&outer.0).enumerate() {
            let action = environment.action().id().unescaped().to_owned();
            let (inner, outer, room, solver) = (inner.clone(), outer.clone(), Arc::clone(&room), self.clone());
            asked.spawn(async move {
                let _turn = room.acquire().await;
                let answer = match (inner, outer) {
                    (Ok(inner), Ok(outer)) => solver.ask(&inner, &outer).await,
                    (Err(why), _) | (_, Err(why)) => Err(why),
                };
                (index, answer.map_err(|why| format!("action `{action}`: {why}")))
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.push(answer.unwrap_or_else(|error| (usize::MAX, Err(error.to_string()))));
        }
        answers.sort_by_key(|(index, _)| *index);
        let mut unknown = None;
        for (_, answer) in answers {
            match answer {
                Ok(None) => {}
                Ok(Some(found)) => return Answer::Refuted(Box::new(found)),
                Err(why) => unknown = unknown.or(Some(why)),
            }
        }
        unknown.map_or(Answer::Proved, Answer::Unknown)
    }

    /// Whether any request and any entities there are meet the policy's conditions.
    ///
    /// # Errors
    ///
    /// Why it could not be found out.
    pub(super) async fn matches(&self, policy: &Policy) -> Result<bool, String> {
        let mut compiler = self.compiler()?;
        // Most policies match something that the first action asks, so one question is most often enough.
        for environment in environments() {
            let compiled = CompiledPolicy::compile(policy, &environment, Rules::schema());
            let compiled = compiled.map_err(|error| error.to_string())?;
            if !answer(compiler.check_never_matches_opt(&compiled)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the policies together permit anything, whatever the request and whatever the entities.
    ///
    /// # Errors
    ///
    /// Why it could not be found out.
    pub(super) async fn permits(&self, set: &PolicySet) -> Result<bool, String> {
        let mut compiler = self.compiler()?;
        for environment in environments() {
            let compiled = CompiledPolicySet::compile(set, &environment, Rules::schema());
            let compiled = compiled.map_err(|error| error.to_string())?;
            if !answer(compiler.check_always_denies_opt(&compiled)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn ask(&self, inner: &CompiledPolicySet, outer: &CompiledPolicySet) -> Result<Option<Found>, String> {
        let mut compiler = self.compiler()?;
        let found = answer(compiler.check_implies_with_counterexample_opt(inner, outer)).await?;
        Ok(found.map(|found| Found { request: found.request, entities: found.entities }))
    }

    /// A process of its own.
    fn compiler(&self) -> Result<CedarSymCompiler<LocalSolver>, String> {
        let process = LocalSolver::from_command(&mut self.way.command()).map_err(|error| error.to_string())?;
        CedarSymCompiler::new(process).map_err(|error| error.to_string())
    }
}

/// What the solver answers, if it does.
async fn answer<T, E: Display>(asked: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    let answer = timeout(PATIENCE, asked).await;
    answer.map_err(|_| "the solver took too long".to_owned())?.map_err(|error| error.to_string())
}

impl Way {
    fn path(&self) -> &Path {
        match self {
            Self::Program(path) | Self::Python(path) => path,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        match self {
            Self::Program(_) => command.args(["--lang", "smt", TIME_LIMIT]),
            Self::Python(_) => command.args(["-c", BRIDGE, TIME_LIMIT]),
        };
        command.kill_on_drop(true);
        command
    }

    async fn version(&self) -> Result<String, String> {
        let mut command = Command::new(self.path());
        match self {
            Self::Program(_) => command.arg("--version"),
            Self::Python(_) => command.args(["-c", VERSION]),
        };
        command.stdin(Stdio::null()).kill_on_drop(true);
        let said = timeout(PATIENCE, command.output()).await;
        let said = said.map_err(|_| "it does not answer".to_owned())?.map_err(|error| error.to_string())?;
        if !said.status.success() {
            let why = match self {
                Self::Program(_) => "it does not say its version",
                Self::Python(_) => "it has no package `cvc5`",
            };
            return Err(why.to_owned());
        }
        let first = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned();
        let first = first.split(" [").next().unwrap_or_default();
        Ok(first.trim_start_matches("This is ").replace("cvc5 version", "cvc5"))
    }
}

fn is_python(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"))
}
