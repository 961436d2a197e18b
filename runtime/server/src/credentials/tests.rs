use std::sync::{Arc, Mutex};

use cofferdam_domain::lane::Note;
use cofferdam_store::Store;
use cofferdam_vault::{Change, KeySource, Renewal, Secret, VaultKey};

use super::*;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn vault() -> Vault {
    let key = VaultKey::load(KeySource::Env("11".repeat(32))).unwrap();
    Vault::open(Store::in_memory(), key).await.unwrap()
}

async fn put(vault: &Vault, text: &str, expires_in: Option<Duration>, overlap: Duration, now: Timestamp) {
    let change = Change {
        expires_at: expires_in.map(|span| now.after(span)),
        overlap,
        ..Change::new(Secret::new(text.as_bytes().to_vec()).unwrap(), now)
    };
    let (workspace, connection, credential) = ("w".parse().unwrap(), "c".parse().unwrap(), "k".parse().unwrap());
    vault.put(&workspace, &connection, &credential, change).await.unwrap();
}

/// A watch over the vault in virtual time, and what it has told: after how long, and what.
struct Watched {
    told: Arc<Mutex<Vec<(Duration, FactKind)>>>,
    began: Instant,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn begin(vault: &Vault, overlaps: Overlaps) -> Self {
        let (told, began, stop) = (Arc::default(), Instant::now(), CancellationToken::new());
        let clock = move || START.after(began.elapsed());
        let mut watch = Watch::begin(Arc::new(vault.clone()), clock, move || overlaps, stop.clone());
        let sink: Arc<Mutex<Vec<_>>> = Arc::clone(&told);
        let task = tokio::spawn(async move {
            loop {
                let facts = watch.look().await.unwrap().facts;
                let facts = facts.iter().map(|fact| (fact.at.since(START), fact.kind));
                sink.lock().unwrap().extend(facts);
                if watch.wait().await == Next::End {
                    return;
                }
            }
        });
        Self {
            told,
            began,
            stop,
            task,
        }
    }

    fn now(&self) -> Timestamp {
        START.after(self.began.elapsed())
    }

    async fn until(&self, since_start: Duration) {
        tokio::time::sleep_until(self.began + since_start).await;
    }

    async fn end(self) -> Vec<(Duration, FactKind)> {
        self.stop.cancel();
        self.task.await.unwrap();
        Arc::try_unwrap(self.told).unwrap().into_inner().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn each_moment_is_told_when_it_comes_and_a_new_value_begins_anew() {
    let vault = vault().await;
    put(&vault, "one", Some(DAY * 8), Duration::ZERO, START).await;
    let watched = Watched::begin(&vault, Overlaps::End);
    watched.until(DAY * 5).await;
    put(&vault, "two", Some(DAY * 2), DAY / 2, watched.now()).await;
    watched.until(DAY * 9).await;
    let told = watched.end().await;
    assert_eq!(
        told,
        [
            (DAY, FactKind::Expiring),
            (DAY * 5 + DAY / 2, FactKind::OverlapEnded),
            (DAY * 6, FactKind::Expiring),
            (DAY * 7, FactKind::Expired),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_clock_is_in_doubt_no_value_is_forgotten() {
    let vault = vault().await;
    put(&vault, "one", None, Duration::ZERO, START).await;
    put(&vault, "two", Some(DAY), Duration::from_secs(60), START).await;
    let watched = Watched::begin(&vault, Overlaps::Keep);
    watched.until(DAY * 2).await;
    assert_eq!(watched.end().await, [(DAY, FactKind::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_it_is_told_to() {
    let vault = vault().await;
    let watched = Watched::begin(&vault, Overlaps::End);
    watched.until(Duration::from_millis(1)).await;
    let asked = Instant::now();
    watched.end().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[test]
fn only_a_persons_change_after_the_park_lets_a_lane_go_on() {
    let at = Timestamp::from_millis;
    let credential = |updated_at, refreshed| CredentialInfo {
        workspace: "w".parse().unwrap(),
        connection: "c".parse().unwrap(),
        name: "k".parse().unwrap(),
        version: 2,
        created_at: at(0),
        updated_at,
        expires_at: None,
        renewal: Renewal::ByPerson,
        refreshed,
        previous: Vec::new(),
    };
    let check = |updated_at, refreshed, expected: bool| {
        let credentials = [credential(at(0), false), credential(at(updated_at), refreshed)];
        assert_eq!(
            changed_since(&credentials, at(10)).is_some(),
            expected,
            "{updated_at} {refreshed}"
        );
    };
    check(9, false, false);
    check(10, false, true);
    check(11, true, false);
    for (class, expected) in [(FailureClass::Auth, Some(at(5))), (FailureClass::Gone, None)] {
        let lane = LaneState {
            parked: Some(Note {
                class,
                reason: "m".into(),
                since: at(5),
            }),
            ..LaneState::default()
        };
        assert_eq!(parked_for_auth(&lane), expected);
    }
    assert_eq!(parked_for_auth(&LaneState::default()), None);
}

#[test]
fn a_series_goes_with_its_credential() {
    let metrics = Metrics::new();
    let mut shown = BTreeSet::new();
    let credential = CredentialInfo {
        workspace: "w".parse().unwrap(),
        connection: "c".parse().unwrap(),
        name: "k".parse().unwrap(),
        version: 1,
        created_at: START,
        updated_at: START,
        expires_at: Some(START),
        renewal: Renewal::ByPerson,
        refreshed: false,
        previous: Vec::new(),
    };
    show_expiries(&metrics, &[credential], &mut shown);
    let series =
        "cofferdam_credential_expiry_timestamp_seconds{workspace=\"w\",connection=\"c\",credential=\"k\"} 1800000000";
    assert!(metrics.encode().contains(series), "{}", metrics.encode());
    show_expiries(&metrics, &[], &mut shown);
    assert!(!metrics.encode().contains("credential=\"k\""));
}
