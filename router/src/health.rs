//! Is a node to be asked? What checks and requests found out, turned into a state with hysteresis.
//!
//! Two kinds of evidence. **Checks** are the control plane's own questions: one that fails may be a lost packet, so the
//! node is only *suspect* until a second one fails. **Doubts** come from the cores, which cannot wait for a check: a
//! connection that is refused, an answer that is no answer, a silence. A suspect node is asked only where no other copy
//! can be; a check that it passes brings it back.
//!
//! A node that passes every check and fails real requests would go up and down with each of them, and each time cost
//! searches an attempt. So a doubt that comes soon after the node rose is a *strike*, and each strike doubles the time
//! for which the next rise is put off. A node that served calmly for a while has its strikes forgotten.
//!
//! Pure: time is an argument. One watcher owns a [`Health`] and shows its state through [`crate::Node`].

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Whether a node is to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// Serves.
    Up,
    /// Something went wrong a moment ago: asked only where no other copy can be.
    Suspect,
    /// Checks fail: as suspect, and what needs every node waits for it or is refused.
    Down,
}

impl NodeState {
    pub const ALL: [NodeState; 3] = [NodeState::Up, NodeState::Suspect, NodeState::Down];

    /// As status pages and metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Up => "up",
            NodeState::Suspect => "suspect",
            NodeState::Down => "down",
        }
    }
}

/// A state that every core reads and any may doubt, without a lock. New ones are down.
#[derive(Debug)]
pub struct SharedState(AtomicU8);

impl Default for SharedState {
    fn default() -> Self {
        SharedState(AtomicU8::new(NodeState::Down as u8))
    }
}

impl SharedState {
    pub fn load(&self) -> NodeState {
        match self.0.load(Ordering::Relaxed) {
            0 => NodeState::Up,
            1 => NodeState::Suspect,
            _ => NodeState::Down,
        }
    }

    /// Seen by every core, with no promise when.
    pub fn store(&self, state: NodeState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// Up becomes suspect; says whether it did.
    pub fn doubt(&self) -> bool {
        let (up, suspect) = (NodeState::Up as u8, NodeState::Suspect as u8);
        self.0
            .compare_exchange(up, suspect, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// How nodes are checked, and how many checks decide.
#[derive(Clone, Copy, Debug)]
pub struct HealthRules {
    /// Between checks of a node that is up.
    pub interval: Duration,
    /// How long a node may take to answer a check.
    pub timeout: Duration,
    /// Failed checks in a row until a node is down.
    pub failures_to_fall: u32,
    /// Good checks in a row until a node that was down is up.
    pub successes_to_rise: u32,
}

impl Default for HealthRules {
    fn default() -> Self {
        HealthRules {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures_to_fall: 2,
            successes_to_rise: 2,
        }
    }
}

/// Served so long without a doubt, a node has its strikes forgotten.
const CALM: Duration = Duration::from_secs(10);
/// How long the first strike puts a rise off, and how long any may.
const HOLD_MIN: Duration = Duration::from_millis(200);
const HOLD_MAX: Duration = Duration::from_secs(30);

/// What is known of one node. Times are durations since any fixed moment.
#[derive(Clone, Debug)]
pub struct Health {
    rules: HealthRules,
    state: NodeState,
    failures: u32,
    successes: u32,
    strikes: u32,
    risen: Duration,
    held_until: Duration,
}

impl Health {
    pub fn new(rules: HealthRules, state: NodeState, now: Duration) -> Self {
        Health {
            rules,
            state,
            failures: 0,
            successes: 0,
            strikes: 0,
            risen: now,
            held_until: now,
        }
    }

    pub fn state(&self) -> NodeState {
        self.state
    }

    /// A check failed.
    pub fn failed(&mut self) -> NodeState {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.state = match self.state {
            NodeState::Down => NodeState::Down,
            _ if self.failures >= self.rules.failures_to_fall => NodeState::Down,
            _ => NodeState::Suspect,
        };
        self.state
    }

    /// A check passed.
    pub fn passed(&mut self, now: Duration) -> NodeState {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let needed = match self.state {
            NodeState::Up => return NodeState::Up,
            NodeState::Suspect => 1,
            NodeState::Down => self.rules.successes_to_rise,
        };
        if self.successes >= needed && now >= self.held_until {
            self.state = NodeState::Up;
            self.risen = now;
        }
        self.state
    }

    /// A core found reason to doubt it.
    pub fn doubted(&mut self, now: Duration) -> NodeState {
        if self.state != NodeState::Up {
            return self.state;
        }
        if now.saturating_sub(self.risen) >= CALM {
            self.strikes = 0;
        } else {
            let hold = HOLD_MIN.saturating_mul(1 << self.strikes.min(20));
            self.held_until = now + hold.min(HOLD_MAX);
            self.strikes = self.strikes.saturating_add(1);
        }
        self.successes = 0;
        self.state = NodeState::Suspect;
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn up() -> Health {
        Health::new(HealthRules::default(), NodeState::Up, Duration::ZERO)
    }

    #[test]
    fn one_failed_check_is_a_suspicion_and_two_are_a_fall() {
        let mut health = up();
        assert_eq!(health.failed(), NodeState::Suspect);
        assert_eq!(health.passed(1000 * MS), NodeState::Up);
        assert_eq!(health.failed(), NodeState::Suspect);
        assert_eq!(health.failed(), NodeState::Down);
        assert_eq!(health.passed(3000 * MS), NodeState::Down);
        assert_eq!(health.failed(), NodeState::Down);
        assert_eq!(health.passed(5000 * MS), NodeState::Down);
        assert_eq!(health.passed(6000 * MS), NodeState::Up);
    }

    #[test]
    fn a_node_that_passes_checks_and_fails_requests_is_left_alone_for_longer_and_longer() {
        let mut health = up();
        let mut now = 20_000 * MS;
        let mut away = Vec::new();
        for _ in 0..10 {
            health.doubted(now);
            let fell = now;
            while health.passed(now) != NodeState::Up {
                now += 100 * MS;
            }
            away.push((now - fell).as_millis());
        }
        assert_eq!(away[..5], [0, 200, 400, 800, 1600]);
        assert_eq!(away[9], 30_000);
        // Calm makes it trusted again.
        now += CALM;
        health.doubted(now);
        assert_eq!(health.passed(now), NodeState::Up);
    }

    #[test]
    fn only_a_node_that_is_up_can_be_doubted() {
        let shared = SharedState::default();
        assert!(!shared.doubt());
        assert_eq!(shared.load(), NodeState::Down);
        shared.store(NodeState::Up);
        assert!(shared.doubt() && !shared.doubt());
        assert_eq!(shared.load(), NodeState::Suspect);
    }

    proptest! {
        /// Whatever happened: checks that fail take a node down, and checks that pass bring it back within the longest hold.
        #[test]
        fn it_follows_the_checks(events in proptest::collection::vec((0u8..3, 0u64..5000), 0..200)) {
            let mut health = up();
            let mut now = Duration::ZERO;
            for (event, pause) in events {
                now += MS * pause as u32;
                match event {
                    0 => health.failed(),
                    1 => health.passed(now),
                    _ => health.doubted(now),
                };
            }
            let mut risen = health.clone();
            risen.passed(now);
            prop_assert_eq!(risen.passed(now + HOLD_MAX), NodeState::Up);
            health.failed();
            prop_assert_eq!(health.failed(), NodeState::Down);
        }
    }
}
