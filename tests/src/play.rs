//! Playing a scenario on one node and on clusters at once, comparing step by step.

use serde_json::{json, Value};

use crate::agree::{agree, Leniency};
use crate::compare::{diff, partial, remove, shorten, Difference};
use crate::fleet::MASTER_KEY;
use crate::http::{Answer, Call, Target};
use crate::scenario::{Scenario, Step};
use crate::token::api_key;
use crate::volatile::{settle, TaskNames};

/// What went wrong in one step on one deployment.
#[derive(Debug)]
pub struct Failure {
    pub scenario: String,
    /// Counted from 1, fixtures unfolded.
    pub step: usize,
    pub request: String,
    /// The deployment that failed.
    pub at: String,
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "FAILED {} step {} on {}: {}\n{}",
            self.scenario, self.step, self.at, self.request, self.what
        )
    }
}

/// What came of a scenario.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers of clusters compared with one node's.
    pub compared: usize,
    pub failures: Vec<Failure>,
}

/// Plays a scenario on `node` and on every cluster. A deployment that failed a step takes no further part: its state is another one
/// now, and what follows would only be noise.
pub fn play(scenario: &Scenario, node: &Target, clusters: &[Target]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut reference = Player::new(scenario, node);
    let mut players: Vec<Player> = clusters.iter().map(|c| Player::new(scenario, c)).collect();
    for (i, step) in scenario.steps.iter().enumerate() {
        let fail = |at: &Target, request: &str, what: String| Failure {
            scenario: scenario.name.clone(),
            step: i + 1,
            request: request.to_string(),
            at: at.name.clone(),
            what,
        };
        let expected = match reference.take(step) {
            Ok(taken) => taken,
            Err(what) => {
                outcome.failures.push(fail(node, &step.request, what));
                return outcome;
            }
        };
        players.retain_mut(|player| {
            outcome.compared += 1;
            let result = player
                .take(step)
                .and_then(hides_the_shard)
                .and_then(|taken| reference.matches(step, &expected, player, &taken));
            match result {
                Ok(()) => true,
                Err(what) => {
                    outcome
                        .failures
                        .push(fail(player.target, &step.request, what));
                    false
                }
            }
        });
    }
    outcome
}

/// A deployment with what a scenario knows of it.
struct Player<'s> {
    scenario: &'s Scenario,
    target: &'s Target,
    names: TaskNames,
}

/// One step as it went on one deployment.
struct Taken {
    call: Call,
    answer: Answer,
    task: Option<Value>,
}

impl<'s> Player<'s> {
    fn new(scenario: &'s Scenario, target: &'s Target) -> Self {
        Player {
            scenario,
            target,
            names: TaskNames::default(),
        }
    }

    /// Sends the step's request, waits for its task and checks what the step itself demands.
    fn take(&mut self, step: &Step) -> Result<Taken, String> {
        let call = step.call(&|text| self.fill(text))?;
        let answer = self.target.call(&call)?;
        let shown = format!("{} {}", answer.status, shorten(&answer.body.to_string()));
        if step.status.is_some_and(|s| s != answer.status) {
            return Err(format!(
                "  expected status {}, got {shown}",
                step.status.unwrap_or_default()
            ));
        }
        if step.code.is_some() && step.code.as_deref() != answer.code() {
            return Err(format!(
                "  expected code {:?}, got {shown}",
                step.code.as_deref().unwrap_or_default()
            ));
        }
        if let Some(expected) = &step.expect {
            none(
                partial(&self.fill_value(expected), &answer.body),
                &format!("expected | got; whole answer: {shown}"),
            )?;
        }
        let mut task = None;
        if let Some(uid) = answer.body.get("taskUid").and_then(Value::as_u64) {
            self.names.note(uid);
            if step.wait || step.finish || step.task.is_some() {
                let finished = self.target.wait_task(uid)?;
                let expected = match &step.task {
                    Some(task) => self.fill_value(task),
                    None if step.wait => json!({"status": "succeeded"}),
                    None => json!({}),
                };
                none(
                    partial(&expected, &finished),
                    &format!("expected task | got; whole task: {finished}"),
                )?;
                task = Some(finished);
            }
        } else if step.wait || step.task.is_some() {
            return Err(format!("  expected a task, got {shown}"));
        }
        Ok(Taken { call, answer, task })
    }

    /// Compares what a cluster (`other`) made of a step with what this node did.
    fn matches(
        &mut self,
        step: &Step,
        mine: &Taken,
        other: &mut Player,
        theirs: &Taken,
    ) -> Result<(), String> {
        let leniency = Leniency {
            ignore: step
                .differs
                .as_ref()
                .map(|d| d.at.clone())
                .unwrap_or_default(),
            ties_from: None,
            in_order: self.scenario.in_order,
        };
        let names = [&mut self.names, &mut other.names];
        let found = agree(
            &mine.call,
            &mine.answer,
            &theirs.answer,
            &leniency,
            names,
            self.target,
        )?;
        let shown = |a: &Answer| format!("{} {}", a.status, shorten(&a.body.to_string()));
        none(
            found,
            &format!(
                "one node | here\n    one node: {}\n    here:     {}",
                shown(&mine.answer),
                shown(&theirs.answer)
            ),
        )?;
        if let (Some(a), Some(b)) = (&mine.task, &theirs.task) {
            let (mut a, mut b) = (settle(a, &mut self.names), settle(b, &mut other.names));
            for pattern in leniency
                .ignore
                .iter()
                .filter_map(|p| p.strip_prefix("task."))
            {
                remove(&mut a, pattern);
                remove(&mut b, pattern);
            }
            none(
                diff(&a, &b),
                &format!("task on one node | here\n    one node: {a}\n    here:     {b}"),
            )?;
        }
        Ok(())
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|v| self.fill_value(v)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(k, v)| (self.fill(k), self.fill_value(v)))
                .collect(),
            other => other.clone(),
        }
    }

    fn fill(&self, text: &str) -> String {
        let name = &self.scenario.name;
        let mut text = text
            .replace("{index}", name)
            .replace("{index2}", &format!("{name}-2"))
            .replace("{index3}", &format!("{name}-3"));
        let task = |place: &str| {
            let uid = place.parse().ok().and_then(|place| self.names.uid(place));
            uid.map_or("no-such-task".into(), |uid| uid.to_string())
        };
        fill_each(&mut text, "{task:", task);
        fill_each(&mut text, "{key:", |uid| api_key(MASTER_KEY, uid));
        let spaces = |count: &str| " ".repeat(count.parse().unwrap_or_default());
        fill_each(&mut text, "{spaces:", spaces);
        text
    }
}

/// Replaces each `{opening…}` by what `value` makes of what stands in it.
fn fill_each(text: &mut String, opening: &str, value: impl Fn(&str) -> String) {
    while let Some((before, rest)) = text.split_once(opening) {
        let Some((inner, after)) = rest.split_once('}') else {
            return;
        };
        *text = format!("{before}{}{after}", value(inner));
    }
}

/// The field that the proxy adds to documents must never reach a client.
fn hides_the_shard(taken: Taken) -> Result<Taken, String> {
    let shown = format!(
        "{} {}",
        taken.answer.body,
        taken.task.clone().unwrap_or_default()
    );
    match shown.contains("_miroir_shard") {
        true => Err(format!(
            "  the answer shows the shard field: {}",
            shorten(&shown)
        )),
        false => Ok(taken),
    }
}

fn none(found: Vec<Difference>, heading: &str) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().take(12).map(|d| format!("    {d}")).collect();
    Err(format!("  {heading}\n{}", lines.join("\n")))
}
