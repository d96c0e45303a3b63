//! Throttles: a token bucket for each usage key, and one for the stage.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::super::template::facts::Throttle;
use crate::limits::MAX_USAGE_BUCKETS;

/// Token buckets by usage key, all of the same rate and burst.
pub struct UsagePlan {
    throttle: Throttle,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled: SystemTime,
}

impl UsagePlan {
    /// A plan under which every key starts with a full bucket.
    pub fn new(throttle: Throttle) -> Self {
        Self { throttle, buckets: Mutex::default() }
    }

    /// Takes a token out of the key's bucket, if there is one.
    pub fn admits(&self, key: &str, now: SystemTime) -> bool {
        let Throttle { rate, burst } = self.throttle;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            return bucket.take(self.throttle, now);
        }
        if buckets.len() >= MAX_USAGE_BUCKETS {
            buckets.retain(|_, bucket| bucket.level(self.throttle, now) < burst);
        }
        if buckets.len() >= MAX_USAGE_BUCKETS {
            let fullest =
                buckets.iter().max_by(|a, b| a.1.tokens.total_cmp(&b.1.tokens)).map(|(key, _)| key.clone());
            fullest.map(|key| buckets.remove(&key));
        }
        let mut bucket = Bucket { tokens: burst, filled: now };
        let admitted = bucket.take(Throttle { rate, burst }, now);
        buckets.insert(key.to_owned(), bucket);
        admitted
    }
}

impl Bucket {
    /// The tokens there are now. A clock that goes back fills nothing.
    fn level(&self, throttle: Throttle, now: SystemTime) -> f64 {
        let elapsed = now.duration_since(self.filled).unwrap_or_default();
        (self.tokens + elapsed.as_secs_f64() * throttle.rate).min(throttle.burst)
    }

    fn take(&mut self, throttle: Throttle, now: SystemTime) -> bool {
        self.tokens = self.level(throttle, now);
        self.filled = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate_for_each_key() {
        let plan = UsagePlan::new(Throttle { rate: 200.0 / 60.0, burst: 200.0 });
        let start = SystemTime::UNIX_EPOCH;
        let admitted = |key: &str, now| (0..1000).filter(|_| plan.admits(key, now)).count();
        assert_eq!(admitted("a", start), 200);
        assert_eq!(admitted("b", start), 200);
        assert_eq!(admitted("a", start + Duration::from_secs(3)), 10);
        assert_eq!(admitted("a", start), 0, "a clock that goes back gives nothing");
        assert_eq!(admitted("a", start + Duration::from_secs(3600)), 200);
    }

    #[test]
    fn buckets_are_bounded() {
        let plan = UsagePlan::new(Throttle { rate: 1.0, burst: 2.0 });
        for key in 0..MAX_USAGE_BUCKETS + 10 {
            assert!(plan.admits(&key.to_string(), SystemTime::UNIX_EPOCH));
        }
        assert!(plan.buckets.lock().unwrap().len() <= MAX_USAGE_BUCKETS);
    }

    #[test]
    fn a_plan_of_nothing_admits_nothing() {
        let plan = UsagePlan::new(Throttle { rate: 0.0, burst: 0.0 });
        assert!(!plan.admits("a", SystemTime::UNIX_EPOCH));
    }
}
