//! A connection's policy: how its attempts are made, what one call may use, and when to try again.

use serde::{Deserialize, Serialize};

use super::limit::CallLimit;
use crate::retry::RetryPolicy;

/// Limits and retries of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Attempts under way at once; 1 to 256.
    pub concurrency: u16,
    /// Wall time of one call, in milliseconds. This and what follows up to `drafts` have their bounds in [`CallLimit`].
    pub deadline_ms: u64,
    /// Wall time of one request of a call, in milliseconds.
    pub request_timeout_ms: u64,
    /// Processor time of one call, in milliseconds.
    pub cpu_ms: u64,
    /// Memory of one call, in bytes: linear memory, and what the host holds for it.
    pub memory_bytes: u64,
    /// Largest response body that a guest gets, in bytes.
    pub response_bytes_max: u64,
    /// Elements of all tables of one call together.
    pub table_elements: u64,
    /// Core instances that its component may be made of.
    pub instances: u64,
    /// Handles that one call may hold at once.
    pub handles: u64,
    /// How often one call may call the host.
    pub host_calls: u64,
    /// Bytes that a guest may move to the host in one crossing.
    pub host_call_bytes: u64,
    /// Log lines that one call may write, those that are not kept included.
    pub log_lines: u64,
    /// Bytes of log that one call may write, what is not kept included.
    pub log_bytes: u64,
    /// Bytes that one call may return.
    pub output_bytes: u64,
    /// Event drafts that one call may return; a source's request makes fewer.
    pub drafts: u64,
    /// Calls that one instance may serve; a fresh one for each if it is no more than one. 0 to 1000.
    pub reuse_calls: u32,
    /// Attempts that may begin in a span of time; none means as fast as they come.
    pub rate: Option<Rate>,
    /// When to stop trying a destination that does not work, and how to begin again.
    pub breaker: BreakerPolicy,
    /// What deliveries must share to be made one after the other, in the order in which their events were accepted; none
    /// means no order.
    pub order_by: Option<OrderBy>,
    /// Deliveries that may wait before producers are told to come back later; none means the server's mark.
    pub pending_max: Option<u64>,
    /// The same for the bytes of their bodies.
    pub pending_bytes_max: Option<u64>,
    /// The same for how long the first of them has been due, in milliseconds.
    pub pending_age_max_ms: Option<u64>,
    /// Retries.
    pub retry: RetryPolicy,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Attempts in each span; 1 to 1,000,000.
    pub count: u32,
    /// The span, in milliseconds; 1 to 86,400,000.
    pub per_ms: u64,
    /// Attempts that may begin at once after a quiet time; none means `count`.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// When to stop trying, and how to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Failures of the destination in a row that open the breaker; 0 means never.
    pub failures: u32,
    /// How long it stays open at first, in milliseconds; each probe that fails doubles it.
    pub open_ms: u64,
    /// The most that it grows to, in milliseconds.
    pub open_max_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 10,
            open_ms: 10_000,
            open_max_ms: 300_000,
        }
    }
}

/// What ordered deliveries of one connection have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderBy {
    /// All of them: one after the other.
    Connection,
    /// The CloudEvents `source`.
    Source,
    /// The CloudEvents `subject`; events without one have no order.
    Subject,
    /// The CloudEvents extension `partitionkey`; events without one have no order.
    Partitionkey,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 8,
            deadline_ms: CallLimit::Deadline.bounds().default,
            request_timeout_ms: 20_000,
            cpu_ms: CallLimit::Cpu.bounds().default,
            memory_bytes: CallLimit::Memory.bounds().default,
            response_bytes_max: 1024 * 1024,
            table_elements: CallLimit::TableElements.bounds().default,
            instances: CallLimit::Instances.bounds().default,
            handles: CallLimit::Handles.bounds().default,
            host_calls: CallLimit::HostCalls.bounds().default,
            host_call_bytes: CallLimit::HostCallBytes.bounds().default,
            log_lines: CallLimit::LogLines.bounds().default,
            log_bytes: CallLimit::LogBytes.bounds().default,
            output_bytes: CallLimit::OutputBytes.bounds().default,
            drafts: CallLimit::Drafts.bounds().default,
            reuse_calls: 0,
            rate: None,
            breaker: BreakerPolicy::default(),
            order_by: None,
            pending_max: None,
            pending_bytes_max: None,
            pending_age_max_ms: None,
            retry: RetryPolicy::default(),
        }
    }
}

impl Policy {
    /// What it says of this limit.
    pub const fn limit(&self, limit: CallLimit) -> u64 {
        match limit {
            CallLimit::Deadline => self.deadline_ms,
            CallLimit::Cpu => self.cpu_ms,
            CallLimit::Memory => self.memory_bytes,
            CallLimit::TableElements => self.table_elements,
            CallLimit::Instances => self.instances,
            CallLimit::Handles => self.handles,
            CallLimit::HostCalls => self.host_calls,
            CallLimit::HostCallBytes => self.host_call_bytes,
            CallLimit::LogLines => self.log_lines,
            CallLimit::LogBytes => self.log_bytes,
            CallLimit::OutputBytes => self.output_bytes,
            CallLimit::Drafts => self.drafts,
        }
    }

    /// Every value out of bounds, named.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut within = |name: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push(format!("policy.{name} is {value}; it must be {min} to {max}"));
            }
        };
        within("concurrency", self.concurrency.into(), 1, 256);
        for limit in CallLimit::ALL {
            within(
                limit.key(),
                self.limit(limit),
                limit.bounds().least,
                limit.bounds().most,
            );
        }
        within("reuse_calls", self.reuse_calls.into(), 0, 1_000);
        within("request_timeout_ms", self.request_timeout_ms, 100, 300_000);
        within("response_bytes_max", self.response_bytes_max, 1024, 16 * 1024 * 1024);
        within(
            "retry.schedule_ms (its length)",
            self.retry.schedule_ms.len() as u64,
            1,
            64,
        );
        for wait in &self.retry.schedule_ms {
            within("retry.schedule_ms (each of it)", *wait, 0, 30 * 24 * 3_600_000);
        }
        within("retry.max_age_ms", self.retry.max_age_ms, 1_000, 30 * 24 * 3_600_000);
        within("retry.faults_max", self.retry.faults_max.into(), 1, 100);
        within("retry.interruptions_max", self.retry.interruptions_max.into(), 1, 100);
        if let Some(rate) = self.rate {
            within("rate.count", rate.count.into(), 1, 1_000_000);
            within("rate.per_ms", rate.per_ms, 1, 24 * 3_600_000);
            within("rate.burst", rate.burst.unwrap_or(rate.count).into(), 1, 1_000_000);
        }
        within("breaker.failures", self.breaker.failures.into(), 0, 10_000);
        within("breaker.open_ms", self.breaker.open_ms, 100, 24 * 3_600_000);
        within(
            "breaker.open_max_ms",
            self.breaker.open_max_ms,
            self.breaker.open_ms,
            24 * 3_600_000,
        );
        for (name, value) in [
            ("pending_max", self.pending_max),
            ("pending_bytes_max", self.pending_bytes_max),
            ("pending_age_max_ms", self.pending_age_max_ms),
        ] {
            within(name, value.unwrap_or(1), 1, 1 << 50);
        }
        problems
    }
}
