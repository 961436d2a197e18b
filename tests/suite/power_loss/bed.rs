//! The queue as the writer uses it and as the verifier does: one place that knows how to ask it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::limits::DEDUPE_WINDOW;
use cofferdam_domain::{
    ConnectionName, EventDraft, FailureClass, LaneEffect, NewEvent, Origin, Outcome, Receipt, Timestamp, Usage,
    WorkspaceName,
};
use cofferdam_queue::{Accept, Bodies, LeaseTerms, Owed, Settlement, StoreQueue};
use cofferdam_store::Store;
use cofferdam_vault::{KeySource, Vault, VaultKey};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::marks::End;
use crate::engine::{Engine, options};

/// The lanes that events are owed to.
pub(crate) const LANES: [&str; 3] = ["first", "second", "third"];

/// The lane whose deliveries have an order, and among how many keys.
const ORDERED: &str = "third";
const ORDER_KEYS: u32 = 8;

/// Sizes of bodies, in bytes: none, whole in one record, around the size where they are split, and several pieces.
const BODY_BYTES: [usize; 9] = [0, 1, 200, 200, 1000, 4000, 4097, 20_000, 65_536];

/// The vault's key, in hex: every process is given the same.
const VAULT_KEY: &str = "7770776b6579777770776b6579777770776b6579777770776b65797777707777";

/// Where the store lies in the recorded folder.
pub(crate) const DATA: &str = "data";

/// Long enough that no lease runs out.
const LEASE: Duration = Duration::from_secs(600);

pub(crate) fn workspace() -> WorkspaceName {
    WorkspaceName::default()
}

pub(crate) fn lane(name: &str) -> ConnectionName {
    name.parse().expect("a name")
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// Opens store, vault and queue. Bodies are sealed, so that a key which is not durable before its bodies is a body lost.
pub(crate) async fn open(engine: Engine, dir: &Path, seed: u64) -> anyhow::Result<StoreQueue> {
    let store = Store::open(&options(engine, dir))?;
    let key = VaultKey::load(KeySource::Env(VAULT_KEY.to_owned()))?;
    let vault = Vault::open(store.clone(), key).await?;
    let bodies = Bodies::Sealed(Arc::new(vault.body_keys()));
    Ok(StoreQueue::open_with(store, bodies, now(), StdRng::seed_from_u64(seed)).await?)
}

/// Some event, owed to some lanes.
pub(crate) fn some_event(dedupe_key: &str, rng: &mut StdRng) -> Accept {
    let mut body = vec![0; BODY_BYTES[rng.random_range(0..BODY_BYTES.len())]];
    rng.fill(&mut body[..]);
    let draft = EventDraft {
        kind: "test.power".to_owned(),
        source: "/power-loss".to_owned(),
        subject: None,
        time: None,
        data_content_type: "application/octet-stream".to_owned(),
        data_schema: None,
        extensions: [].into(),
        data: body,
        dedupe_key: Some(dedupe_key.to_owned()),
    };
    let stamp = Stamp {
        workspace: workspace(),
        origin: Origin::Api("power-loss".to_owned()),
        correlation_id: None,
        trace: None,
        received_at: now(),
        body_bytes_max: 1 << 20,
    };
    let new: NewEvent = draft.stamp(stamp, rng).expect("a sound event");
    let fan_out = LANES[..rng.random_range(1..=LANES.len())].iter();
    let owed = |&name| Owed {
        order_key: (name == ORDERED).then(|| format!("key {}", rng.random_range(0..ORDER_KEYS))),
        ..Owed::deliver(lane(name), Duration::ZERO)
    };
    Accept {
        new,
        fan_out: fan_out.map(owed).collect(),
        dedupe_window: DEDUPE_WINDOW,
    }
}

/// Terms of a lease.
pub(crate) fn terms(now: Timestamp, max: usize) -> LeaseTerms {
    LeaseTerms {
        now,
        lease_for: LEASE,
        max,
        max_age: None,
    }
}

/// The settlement with this end.
pub(crate) fn settlement(end: End) -> Settlement {
    let at = now();
    let failure = |class| Failure {
        class,
        code: Some("power-loss".to_owned()),
        message: "the suite decided so".to_owned(),
        ambiguous: false,
        retry_after_ms: None,
    };
    let (outcome, failure) = match end {
        End::Delivered => (Outcome::Delivered, None),
        End::Dead => (Outcome::Dead, Some(failure(FailureClass::Schema))),
        End::Pending => {
            let due_at = at.after(Duration::from_millis(50));
            (
                Outcome::Retry { due_at, charged: true },
                Some(failure(FailureClass::Dependency)),
            )
        }
    };
    Settlement {
        end: AttemptEnd {
            at,
            connector: None,
            receipt: (outcome == Outcome::Delivered).then(Receipt::default),
            outcome,
            failure,
            trail: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage::default(),
        },
        lane: vec![LaneEffect::None],
        produced: Vec::new(),
        kept: Default::default(),
        now: at,
    }
}
