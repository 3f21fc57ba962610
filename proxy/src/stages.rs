//! How long the stages of a search took here: for `processingTimeMs`, and for `showPerformanceDetails`, which tells of what
//! this program did (MEILISEARCH B.0). Nodes are not asked for theirs: many nodes' steps have no sum.

use std::time::{Duration, Instant};

use miroir_merge::Merged;
use miroir_router::RoutingTable;

/// The first version whose searches know `showPerformanceDetails`.
const SINCE: (u32, u32, u32) = (1, 35, 0);

/// When the stages of one request ended.
#[derive(Clone, Copy)]
pub struct Stages {
    began: Instant,
    planned: Instant,
    asked: Instant,
}

impl Stages {
    pub fn begin() -> Self {
        let began = Instant::now();
        Stages {
            began,
            planned: began,
            asked: began,
        }
    }

    /// From here on nodes are asked.
    pub fn planned(&mut self) {
        self.planned = Instant::now();
    }

    /// All nodes have answered.
    pub fn asked(&mut self) {
        self.asked = Instant::now();
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The answer with the durations, where they are wanted.
    pub fn tell(&self, merged: Merged, wanted: Option<bool>) -> Merged {
        match wanted {
            Some(true) => merged.with_member("performanceDetails", &self.told(Instant::now())),
            Some(false) | None => merged,
        }
    }

    /// Stage -> duration, as Meilisearch writes durations.
    fn told(&self, merged: Instant) -> String {
        let stages = [
            ("search > plan", self.planned - self.began),
            ("search > ask nodes", self.asked - self.planned),
            ("search > merge answers", merged - self.asked),
            ("search", merged - self.began),
        ];
        let written = |(stage, took): (&str, Duration)| format!("\"{stage}\":\"{took:.2?}\"");
        format!("{{{}}}", stages.map(written).join(","))
    }
}

/// Whether the parameter may stand in a request as it does: nodes that do not know it refuse it in their own words.
pub fn understands(table: &RoutingTable, parameter: Option<bool>) -> bool {
    parameter.is_none() || table.lowest_version() >= SINCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_meilisearch_does() {
        let began = Instant::now();
        let stages = Stages {
            began,
            planned: began + Duration::from_nanos(202_890),
            asked: began + Duration::from_micros(2_612),
        };
        assert_eq!(
            stages.told(began + Duration::from_micros(1_502_612)),
            r#"{"search > plan":"202.89µs","search > ask nodes":"2.41ms","search > merge answers":"1.50s","search":"1.50s"}"#
        );
    }
}
