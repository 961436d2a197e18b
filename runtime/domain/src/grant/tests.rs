use proptest::prelude::*;

use super::*;

const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const PREFIXES: [&str; 5] = ["/", "/a", "/a/", "/a/b", "/ab"];
const PATHS: [&str; 7] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b"];
const SLOTS: [&str; 7] = [
    "none",
    "bearer",
    "basic",
    "query key",
    "oauth2 r",
    "oauth2 r w",
    "header x-key ",
];
const NAMES: [&str; 2] = ["one", "two"];

fn some_of(all: &'static [&'static str], least: usize) -> impl Strategy<Value = BTreeSet<String>> {
    proptest::sample::subsequence(all, least..=all.len())
        .prop_map(|chosen| chosen.into_iter().map(str::to_owned).collect())
}

fn upstream() -> impl Strategy<Value = UpstreamAsks> {
    (
        some_of(&METHODS, 1),
        some_of(&PREFIXES, 0),
        proptest::sample::select(&SLOTS[..]),
    )
        .prop_map(|(methods, path_prefixes, slot)| UpstreamAsks {
            methods,
            path_prefixes,
            credential: slot.parse().unwrap(),
        })
}

fn asks() -> impl Strategy<Value = Asks> {
    (
        proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), upstream(), 0..=2),
        proptest::option::of(proptest::sample::select(&["github", "slack"][..])),
        any::<bool>(),
        proptest::option::of(1_u32..4),
    )
        .prop_map(|(upstreams, inbound, state, poll_every_s)| Asks {
            upstreams: upstreams
                .into_iter()
                .map(|(name, asks)| (name.parse().unwrap(), asks))
                .collect(),
            inbound: inbound.map(str::to_owned),
            state,
            poll_every_s,
        })
}

/// Everything that a connector could do that asks for this, one by one.
fn powers(asks: &Asks) -> BTreeSet<String> {
    let mut powers = BTreeSet::new();
    for (name, upstream) in &asks.upstreams {
        let slots: Vec<String> = match &upstream.credential {
            CredentialSlot::None => vec!["without".to_owned()],
            CredentialSlot::OAuth2(scopes) => std::iter::once("oauth2".to_owned())
                .chain(scopes.iter().map(|scope| format!("scope {scope}")))
                .collect(),
            slot => vec![slot.to_string()],
        };
        for method in &upstream.methods {
            for path in PATHS {
                let under = |prefix: &String| covers(prefix, path);
                if upstream.path_prefixes.is_empty() || upstream.path_prefixes.iter().any(under) {
                    powers.extend(slots.iter().map(|slot| format!("{name} {method} {path} {slot}")));
                    // Whoever may send with a credential may as well send without.
                    powers.insert(format!("{name} {method} {path} without"));
                }
            }
        }
    }
    powers.extend(asks.inbound.iter().map(|scheme| format!("inbound {scheme}")));
    powers.extend(asks.state.then(|| "state".to_owned()));
    powers.extend(
        asks.poll_every_s
            .into_iter()
            .flat_map(|every| every..4)
            .map(|every| format!("every {every}")),
    );
    powers
}

proptest! {
    #[test]
    fn what_asks_for_no_more_can_do_no_more(new in asks(), old in asks()) {
        prop_assert_eq!(new.asks_beyond(&old), !new.beyond(&old).is_empty());
        if new.beyond(&old).is_empty() {
            let (new, old) = (powers(&new), powers(&old));
            prop_assert!(new.is_subset(&old), "{:?}", new.difference(&old).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_same_and_less_is_no_more(asks in asks(), without in proptest::sample::select(&NAMES[..])) {
        prop_assert!(asks.beyond(&asks).is_empty());
        let mut less = Asks { inbound: None, state: false, poll_every_s: None, ..asks.clone() };
        less.upstreams.remove(&without.parse().unwrap());
        prop_assert!(less.beyond(&asks).is_empty());
    }

    #[test]
    fn no_chain_of_updates_that_ask_for_no_more_leads_to_more(a in asks(), b in asks(), c in asks()) {
        if a.beyond(&b).is_empty() && b.beyond(&c).is_empty() {
            prop_assert!(a.beyond(&c).is_empty(), "{:?}", a.beyond(&c));
        }
    }
}

#[test]
fn each_thing_beyond_the_grant_is_named() {
    let old = Asks {
        upstreams: BTreeMap::from([(
            "api".parse().unwrap(),
            UpstreamAsks {
                methods: BTreeSet::from(["GET".to_owned()]),
                path_prefixes: BTreeSet::from(["/v1".to_owned()]),
                credential: "bearer".parse().unwrap(),
            },
        )]),
        inbound: None,
        state: false,
        poll_every_s: Some(300),
    };
    let mut new = old.clone();
    let api = new.upstreams.get_mut(&"api".parse().unwrap()).unwrap();
    api.methods.insert("POST".to_owned());
    api.path_prefixes = BTreeSet::from(["/v1/users".to_owned(), "/v10".to_owned()]);
    api.credential = "query key".parse().unwrap();
    let evil = api.clone();
    new.upstreams.insert("evil".parse().unwrap(), evil);
    new.inbound = Some("github".to_owned());
    new.state = true;
    new.poll_every_s = Some(60);
    assert_eq!(
        new.beyond(&old),
        [
            "upstream api: the method POST",
            "upstream api: paths under /v10",
            "upstream api: a credential attached as `query key`",
            "upstream evil: GET, POST of /v1/users, /v10, credential `query key`",
            "incoming requests by the scheme github",
            "state that is kept between calls",
            "to be polled every 60 s",
        ]
    );
    new = old.clone();
    new.upstreams
        .get_mut(&"api".parse().unwrap())
        .unwrap()
        .path_prefixes
        .clear();
    assert_eq!(new.beyond(&old), ["upstream api: any path"]);
}

#[test]
fn a_grant_ends_a_refusal_and_a_refusal_an_earlier_grant_and_both_are_bounded() {
    let digest = |number: usize| Digest::of(&number.to_be_bytes());
    let mut grant = Grant::default();
    let mut before = None;
    for number in 0..40 {
        grant = grant.granting(digest(number), before, Asks::default(), None);
        before = Some(digest(number));
    }
    assert_eq!(grant.earlier.len(), DECIDED_MAX);
    assert_eq!(grant.earlier[0], digest(38));
    let refused = grant.refusing(digest(38), before);
    assert!(!refused.earlier.contains(&digest(38)) && refused.refused == [digest(38)]);
    let again = refused.granting(digest(38), before, Asks::default(), Some("key".to_owned()));
    assert!(again.refused.is_empty() && again.earlier[0] == digest(39));
    let mut refused = again;
    for number in 0..40 {
        assert_eq!(refused.only_granted, number > DECIDED_MAX, "{number}");
        refused = refused.refusing(digest(100 + number), Some(digest(100)));
    }
    assert_eq!(refused.refused.len(), DECIDED_MAX);
    assert!(
        refused.refused.contains(&digest(100)),
        "what was granted last would run again if its refusal were forgotten"
    );
    let granted = refused.granting(digest(200), Some(digest(100)), Asks::default(), None);
    assert!(!granted.only_granted, "the next grant ends it");
    assert!(
        !granted.earlier.contains(&digest(100)) && granted.refused.contains(&digest(100)),
        "what was refused is not granted with another one"
    );
}

#[test]
fn what_was_granted_by_an_older_file_stays_granted_only_if_it_asks_for_no_more_than_what_is_granted_now() {
    let digest = |number: usize| Digest::of(&number.to_be_bytes());
    let state = Asks {
        state: true,
        ..Asks::default()
    };
    let grant = Grant {
        asks: Some(Asks::default()),
        earlier: vec![digest(1), digest(2), digest(3)],
        ..Grant::default()
    };
    let known = |asked: Digest| match asked {
        one if one == digest(1) => Some(Asks::default()),
        two if two == digest(2) => Some(state.clone()),
        _ => None,
    };
    assert_eq!(grant.narrowed(known).earlier, [digest(1)]);
    let wide = Grant {
        asks: Some(state.clone()),
        ..grant.clone()
    };
    assert_eq!(wide.narrowed(known).earlier, [digest(1), digest(2)]);
    let unknown = Grant { asks: None, ..grant };
    assert!(unknown.narrowed(known).earlier.is_empty());
}
