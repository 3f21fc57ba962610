//! One fill: copies of some shards on a target node become equal to those of a source node, while writes go on.
//!
//! Why it is not a mere copy: nodes apply writes later than they accept them, so what is read from the source can be
//! older than a write that both copies have accepted already; a partial update of a document that the target does not
//! have yet makes a stub there; a deletion by filter finds nothing on a target that is not filled yet, and a page read
//! before it brings its documents back (DESIGN 9). So what writes touch is remembered from before the listing on, and
//! at the end, while writes wait, what was touched is compared once more and mended.
//!
//! | step | command | writes |
//! | --- | --- | --- |
//! | 1 | [`Command::AwaitGracePeriod`]: from here on every write goes to the target, too | go on |
//! | 2 | [`Command::AwaitApplied`]; what is touched is remembered from here on | go on |
//! | 3 | [`Command::List`] all, [`Command::Mend`], [`Command::AwaitApplied`] | go on |
//! | | from 3 again while too much was touched, [`PASSES_MAX`] times at most | go on |
//! | 4 | [`Command::TakeLane`], [`Command::AwaitApplied`] | wait |
//! | 5 | [`Command::List`] what was touched, [`Command::Mend`], [`Command::AwaitApplied`] | wait |
//! | 6 | [`Command::Switch`] | go on |
//!
//! What is copied in step 3 may overwrite something newer on the target. That is harmless: the target does not serve,
//! and such a key is touched.

use miroir_router::{NodeIdx, Shard};

use crate::listing::{difference, Document, Key};
use crate::touched::Touched;

/// How often everything is listed at most while writes go on.
const PASSES_MAX: u32 = 3;

/// More touched keys than this are worth another pass: each costs time while writes wait.
const LANE_KEYS_MAX: usize = 1_000;

/// What a fill is to do, on one index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Of the layout that asked for it. A layout of another version may have been without the target's copies for a
    /// while, so that they missed writes: the fill must begin again.
    pub layout_version: u64,
    /// Serves these shards.
    pub source: NodeIdx,
    /// Takes writes of these shards, but does not serve them.
    pub target: NodeIdx,
    /// Ascending, not empty.
    pub shards: Vec<Shard>,
}

/// What the executor is to do next. Each command is answered by one event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Wait until no request works on a routing table that is older than the one that is published now, which must have
    /// the job's layout version. → [`Event::Done`]
    AwaitGracePeriod,
    /// Wait until source and target have applied every task of the index that they have accepted up to now, not only
    /// those that the store knows of. → [`Event::Done`]
    AwaitApplied,
    /// Wait for the index's lane and hold it alone: every write that had begun has ended by then, and what it touched
    /// was told ([`Fill::touch`]). The lane is held until the fill has ended, however it ends, and is released then by
    /// the executor. → [`Event::Done`]
    TakeLane,
    /// List both copies of the job's shards: all documents, or those of these keys that exist; the source's in the
    /// order in which it stores them. → [`Event::Listed`]
    List { keys: Option<Vec<Key>> },
    /// Read the documents `copy` from the source, write them whole to the target in this order (one that is gone by
    /// now is left out), and delete `delete` from the target. The nodes must have *answered* every request when this is
    /// done. → [`Event::Done`]
    Mend { copy: Vec<Key>, delete: Vec<Key> },
    /// Make [`crate::Transition::switch`] of the current layout and this job true: stored in one transaction, then
    /// published. Where it refuses, the fill has failed. → [`Event::Done`]
    Switch,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Done,
    Listed {
        source: Vec<Document>,
        target: Vec<Document>,
    },
    /// The command could not be carried out, or nobody knows whether it was. The reason is for people.
    Failed(String),
}

/// Numbers the commands of a fill.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Step(pub u32);

/// The state machine. The executor carries out [`Fill::command`] and reports with [`Fill::on`], until there is none.
///
/// Nothing of it is stored: after a crash a new one is begun, and finds most of the documents in their place.
#[derive(Clone, Debug)]
pub struct Fill {
    job: Job,
    step: Step,
    phase: Phase,
    command: Option<Command>,
    /// Full listings so far.
    passes: u32,
    /// Since before the last full listing.
    touched: Touched,
    failed: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Grace,
    /// Before a full listing.
    Settling,
    Listing,
    Mending,
    /// After a full listing was mended.
    Settled,
    Taking,
    /// In the lane.
    Quiet,
    Checking,
    Finishing,
    /// What was mended in the lane is being applied.
    Finished,
    Switching,
    Ended,
}

impl Fill {
    pub fn new(job: Job) -> Fill {
        Fill {
            job,
            step: Step(0),
            phase: Phase::Grace,
            command: Some(Command::AwaitGracePeriod),
            passes: 0,
            touched: Touched::nothing(),
            failed: None,
        }
    }

    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What to do now, and the step to report it under; None when the fill has ended.
    pub fn command(&self) -> Option<(Step, &Command)> {
        Some((self.step, self.command.as_ref()?))
    }

    /// What it is at, in a word or two, for people.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Grace => "waiting for older requests",
            Phase::Settling | Phase::Settled => "waiting for the nodes",
            Phase::Listing => "listing",
            Phase::Mending => "copying",
            Phase::Taking => "waiting for its turn",
            Phase::Quiet | Phase::Checking | Phase::Finishing | Phase::Finished => "finishing",
            Phase::Switching => "switching",
            Phase::Ended => "ended",
        }
    }

    /// Why it failed; None while it runs and when it has succeeded.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Takes note of a write of the index: to be called before the write gives back its turn in the lane, whether it
    /// was accepted or not, unless it is certain that nothing of it was sent.
    pub fn touch(&mut self, touched: &Touched) {
        self.touched.merge(&touched.within(&self.job.shards));
    }

    /// A request that changes something was sent to this node and given up: it may still arrive, even after the fill has
    /// ended. A fill that the node takes part in fails; the next one begins when the node has settled
    /// ([`crate::NodeState::Usable`]).
    pub fn doubt(&mut self, node: NodeIdx) {
        let takes_part = node == self.job.source || node == self.job.target;
        if takes_part && self.command.is_some() {
            self.fail(format!("a request to node {node} may still be on its way"));
        }
    }

    /// Reports what came of the command of this step. Reports of other steps are late or doubled, and are ignored.
    pub fn on(&mut self, step: Step, event: Event) {
        if step != self.step || self.command.is_none() {
            return;
        }
        match event {
            Event::Failed(reason) => self.fail(reason),
            Event::Listed { source, target } => match self.phase {
                Phase::Listing => self.mend(&source, &target, Phase::Mending),
                Phase::Checking => self.mend(&source, &target, Phase::Finishing),
                _ => self.fail("a listing that nobody asked for".into()),
            },
            Event::Done => self.done(),
        }
    }

    fn done(&mut self) {
        match self.phase {
            Phase::Grace => self.settle(),
            Phase::Settling => self.list_all(),
            Phase::Mending if self.another_pass() => self.settle(),
            Phase::Mending => self.go(Phase::Settled, Command::AwaitApplied),
            Phase::Settled => self.go(Phase::Taking, Command::TakeLane),
            Phase::Taking => self.go(Phase::Quiet, Command::AwaitApplied),
            Phase::Quiet if self.touched.is_nothing() => self.go(Phase::Switching, Command::Switch),
            Phase::Quiet => {
                let keys = self.touched.keys().map(|keys| keys.into_iter().collect());
                self.go(Phase::Checking, Command::List { keys });
            }
            Phase::Finishing => self.go(Phase::Finished, Command::AwaitApplied),
            Phase::Finished => self.go(Phase::Switching, Command::Switch),
            Phase::Switching | Phase::Ended => self.end(),
            Phase::Listing | Phase::Checking => self.fail("a listing without documents".into()),
        }
    }

    /// Before a full listing: what is accepted from here on counts as touched.
    fn settle(&mut self) {
        if cfg!(not(feature = "canary_bug")) {
            self.touched = Touched::nothing();
        }
        self.go(Phase::Settling, Command::AwaitApplied);
    }

    fn list_all(&mut self) {
        if cfg!(feature = "canary_bug") {
            // The mistake: what was accepted while the nodes were applying is forgotten.
            self.touched = Touched::nothing();
        }
        self.passes += 1;
        self.go(Phase::Listing, Command::List { keys: None });
    }

    fn another_pass(&self) -> bool {
        let much = match &self.touched {
            Touched::Everything => true,
            Touched::Keys(keys) => keys.len() > LANE_KEYS_MAX,
        };
        much && self.passes < PASSES_MAX
    }

    fn mend(&mut self, source: &[Document], target: &[Document], phase: Phase) {
        let difference = difference(source, target);
        if difference.is_empty() {
            self.phase = phase;
            return self.done();
        }
        let (copy, delete) = (difference.copy, difference.delete);
        self.go(phase, Command::Mend { copy, delete });
    }

    fn go(&mut self, phase: Phase, command: Command) {
        self.phase = phase;
        self.step.0 += 1;
        self.command = Some(command);
    }

    fn fail(&mut self, reason: String) {
        self.failed = Some(reason);
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.step.0 += 1;
        self.command = None;
    }
}
