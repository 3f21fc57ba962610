//! Servers side by side: the same requests in turns (A B A B), so that what disturbs one disturbs the others as well.

use std::time::Duration;

use miroir_net::client::OutRequest;

use crate::load::{self, Outcome, Plan};
use crate::process::{cpu_ns, Syscalls};
use crate::target::Target;
use crate::Error;

/// One of the servers.
pub struct Side {
    pub target: Target,
    /// Its processes, as far as they are known.
    pub pids: Vec<u32>,
}

/// What all of them are asked.
pub struct Course {
    pub requests: Vec<OutRequest>,
    pub connections: usize,
    /// One step each: an open loop at that rate, or the closed loop.
    pub rates: Vec<Option<f64>>,
    pub rounds: usize,
    /// Of one turn.
    pub duration: Duration,
}

/// One rate.
pub struct Step {
    pub rate: Option<f64>,
    /// One for each side, in their order.
    pub figures: Vec<Figures>,
}

/// What one side did at one rate, all rounds together.
pub struct Figures {
    pub outcome: Outcome,
    /// Of the server's processes, for one request that was answered.
    pub cpu_us: Option<f64>,
    pub syscalls: Option<f64>,
}

/// Runs the course. Call it on a core.
///
/// # Errors
/// A server that does not answer its first request.
pub async fn run(sides: &[Side], course: &Course) -> Result<Vec<Step>, Error> {
    for side in sides {
        side.target.check(&course.requests[0]).await?;
        load::run(&side.target, &course.plan(None, WARM_UP)).await;
    }
    let mut steps = Vec::new();
    for &rate in &course.rates {
        let plan = course.plan(rate, course.duration);
        let mut turns: Vec<(Outcome, Option<u64>)> =
            sides.iter().map(|_| (Outcome::new(), Some(0))).collect();
        for _ in 0..course.rounds {
            for (side, (outcome, cpu)) in sides.iter().zip(&mut turns) {
                let before = cpu_ns(&side.pids);
                outcome.add(load::run(&side.target, &plan).await);
                let spent = cpu_ns(&side.pids)
                    .zip(before)
                    .map(|(after, before)| after.saturating_sub(before));
                *cpu = cpu.zip(spent).map(|(sum, spent)| sum + spent);
            }
        }
        let mut figures = Vec::new();
        for (side, (outcome, cpu)) in sides.iter().zip(turns) {
            figures.push(Figures {
                cpu_us: cpu.map(|ns| ns as f64 / 1e3 / answered(&outcome)),
                syscalls: syscalls(side, &course.plan(rate, COUNTING)).await,
                outcome,
            });
        }
        steps.push(Step { rate, figures });
    }
    Ok(steps)
}

/// In a turn of its own: counting them slows each of them down.
async fn syscalls(side: &Side, plan: &Plan) -> Option<f64> {
    let counter = Syscalls::count(&side.pids)?;
    let outcome = load::run(&side.target, plan).await;
    Some(counter.end()? as f64 / answered(&outcome))
}

fn answered(outcome: &Outcome) -> f64 {
    (outcome.answers.values().sum::<u64>() as f64).max(1.0)
}

impl Course {
    fn plan(&self, rate: Option<f64>, duration: Duration) -> Plan {
        Plan {
            connections: self.connections,
            rate,
            duration,
            requests: self.requests.clone(),
            once: false,
        }
    }
}

const WARM_UP: Duration = Duration::from_millis(300);
const COUNTING: Duration = Duration::from_millis(700);
