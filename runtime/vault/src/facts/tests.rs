use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

struct Bed {
    store: Store,
    facts: Facts,
}

impl Bed {
    fn new() -> Self {
        let store = Store::in_memory();
        Self {
            facts: Facts::new(store.clone()),
            store,
        }
    }

    async fn add(&self, connection: &str, credential: &str, now: u64) -> Fact {
        let (workspace, connection, credential) = (
            WorkspaceName::default(),
            connection.parse().unwrap(),
            credential.parse().unwrap(),
        );
        let place = Place {
            workspace: &workspace,
            connection: &connection,
            credential: &credential,
        };
        let mut batch = Batch::new();
        let fact = self.facts.add(&mut batch, place, News::of(FactKind::Set), at(now));
        self.store.commit(batch).await.unwrap();
        fact.unwrap()
    }

    fn list(&self, query: &FactQuery) -> Vec<Fact> {
        self.facts.list(&WorkspaceName::default(), query).unwrap()
    }

    fn all(&self, connection: &str) -> Vec<Fact> {
        self.list(&FactQuery {
            connection: Some(connection.parse().unwrap()),
            limit: FACTS_LISTED_MAX,
            ..FactQuery::default()
        })
    }

    fn count(&self, connection: &str) -> usize {
        let prefix = of_connection(&WorkspaceName::default(), &connection.parse().unwrap());
        self.store.keys(&Scan::prefix(prefix, 4096)).unwrap().len()
    }
}

#[tokio::test]
async fn facts_are_in_order_within_a_millisecond_and_when_the_clock_goes_back() {
    let bed = Bed::new();
    let mut expected = Vec::new();
    for now in [1_000, 1_000, 1_001, 400, 1_000] {
        expected.insert(0, bed.add("c", "k", now).await);
    }
    assert_eq!(bed.all("c"), expected);
    let ids: Vec<FactId> = expected
        .iter()
        .map(|fact| fact.id.to_string().parse().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|left, right| left > right));
}

#[tokio::test]
async fn a_connection_has_a_bound_of_its_own_and_displaces_nobody_elses() {
    let bed = Bed::new();
    bed.add("quiet", "k", 0).await;
    for now in 0..FACTS_PER_CONNECTION_MAX as u64 {
        bed.add("loud", "k", now).await;
    }
    assert_eq!(bed.count("loud"), FACTS_PER_CONNECTION_MAX);
    let last = bed.add("loud", "k", 10_000).await;
    assert_eq!(bed.count("loud"), FACTS_PER_CONNECTION_MAX);
    assert_eq!(bed.all("loud")[0], last);
    assert_eq!(bed.count("quiet"), 1);
}

#[tokio::test]
async fn facts_past_their_age_go_in_small_steps() {
    let bed = Bed::new();
    for now in 0..TRIMMED_MAX as u64 + 3 {
        bed.add("a", "k", now).await;
    }
    bed.add("b", "k", 0).await;
    let age = u64::try_from(FACT_AGE_MAX.as_millis()).unwrap();
    bed.add("a", "k", age).await;
    assert_eq!(bed.facts.trim(at(age)).await.unwrap(), 0, "at the age it stays");
    assert_eq!(bed.facts.trim(at(age + 1)).await.unwrap(), 1);
    let late = at(age + 1_000);
    assert_eq!(bed.facts.trim(late).await.unwrap(), TRIMMED_MAX);
    assert_eq!(bed.facts.trim(late).await.unwrap(), 3, "the rest, of both");
    assert_eq!(bed.facts.trim(late).await.unwrap(), 0);
    assert_eq!((bed.count("a"), bed.count("b")), (1, 0));
}

#[tokio::test]
async fn pages_over_all_connections_meet_every_fact_once() {
    let bed = Bed::new();
    let mut expected = Vec::new();
    for number in 0..30 {
        let (connection, credential) = (["a", "b", "c"][number % 3], ["k", "l"][number % 2]);
        expected.insert(0, bed.add(connection, credential, number as u64).await);
    }
    for (credential, limit) in [(None, 7), (Some("k"), 4), (Some("l"), 100)] {
        let mut query = FactQuery {
            credential: credential.map(|name| name.parse().unwrap()),
            limit,
            ..FactQuery::default()
        };
        let mut found = Vec::new();
        loop {
            let page = bed.list(&query);
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            query.before = Some(last.id);
            found.extend(page);
        }
        let wanted = expected
            .iter()
            .filter(|fact| credential.is_none_or(|name| fact.credential.as_str() == name));
        assert_eq!(found, wanted.cloned().collect::<Vec<_>>());
    }
    assert!(
        bed.facts
            .list(
                &"other".parse().unwrap(),
                &FactQuery {
                    limit: 9,
                    ..FactQuery::default()
                }
            )
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_text_is_cut_at_its_bound_and_cannot_break_a_line() {
    assert_eq!(short("a\nb\u{1b}c"), "a b c");
    let long = "é".repeat(FACT_TEXT_BYTES_MAX);
    assert_eq!(short(&long).len(), FACT_TEXT_BYTES_MAX);
    assert_eq!(short(&"x".repeat(FACT_TEXT_BYTES_MAX)).len(), FACT_TEXT_BYTES_MAX);
}

#[test]
fn only_an_id_is_taken_for_one() {
    assert_eq!("000000000000002a".parse(), Ok(FactId(42)));
    for bad in ["", "2a", "000000000000002A", "+00000000000002a", "000000000000002a0"] {
        assert_eq!(bad.parse::<FactId>(), Err(BadFactId), "{bad}");
    }
}

#[test]
fn every_kind_is_named_alike_everywhere() {
    for kind in FactKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}
