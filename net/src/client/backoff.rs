//! How long a node that cannot be reached is left alone.
//!
//! Exponential with full jitter on the upper half, so that the cores of many proxies do not knock in step. When the
//! pause is over one request is let through as a probe; until it has an outcome the others still fail at once.
//!
//! Pure: time comes in as an argument and randomness from a seeded generator.

use std::time::Duration;

use miroir_rt::Instant;

pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    until: Option<Instant>,
    random: XorShift,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Backoff {
            min,
            max,
            failures: 0,
            until: None,
            random: XorShift::new(seed),
        }
    }

    /// May a connection be tried? When a pause has just ended, the caller is the probe and `patience` is how long the
    /// others wait for its outcome.
    pub fn admit(&mut self, now: Instant, patience: Duration) -> bool {
        match self.until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.until = Some(now + patience);
                true
            }
        }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    pub fn failed(&mut self, now: Instant) {
        let ceiling = self
            .min
            .saturating_mul(1 << self.failures.min(20))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half = ceiling / 2;
        let jitter = half.mul_f64(self.random.unit());
        self.until = Some(now + half + jitter);
    }
}

/// Marsaglia's xorshift64*: cheap, and good enough to spread retries.
struct XorShift(u64);

impl XorShift {
    fn new(seed: u64) -> Self {
        // Zero is the one state that it never leaves.
        XorShift(seed | 1)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_grow_up_to_the_ceiling_and_end_with_a_success() {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS, 7);
        let now = Instant::now();
        assert!(backoff.admit(now, MS));
        for (low, high) in [
            (50, 100),
            (100, 200),
            (200, 400),
            (400, 800),
            (500, 1000),
            (500, 1000),
        ] {
            backoff.failed(now);
            assert!(!backoff.admit(now + (low - 1) * MS, MS), "{low}");
            assert!(backoff.admit(now + high * MS, MS), "{high}");
        }
        backoff.failed(now);
        backoff.succeeded();
        assert!(backoff.admit(now, MS));
    }

    #[test]
    fn after_a_pause_only_one_probes() {
        let mut backoff = Backoff::new(10 * MS, 10 * MS, 7);
        let now = Instant::now();
        backoff.failed(now);
        let later = now + 10 * MS;
        assert!(backoff.admit(later, 100 * MS));
        assert!(!backoff.admit(later + MS, 100 * MS));
        assert!(backoff.admit(later + 100 * MS, 100 * MS));
    }
}
