use super::*;

fn descriptor(change: impl FnOnce(&mut Descriptor, &mut UpstreamRequest)) -> Descriptor {
    let mut descriptor = Descriptor {
        name: "c".parse().unwrap(),
        version: "1.2.3".parse().unwrap(),
        summary: "Does one thing.".to_owned(),
        settings_schema: serde_json::json!({"type": "object"}),
        upstreams: Vec::new(),
        inbound: None,
        consumes: Vec::new(),
        produces: Vec::new(),
        wants_state: false,
        poll_every_s: None,
    };
    let mut upstream = UpstreamRequest {
        name: "up".parse().unwrap(),
        base_url: None,
        reason: "To do it.".to_owned(),
        methods: vec!["GET".to_owned()],
        path_prefixes: Vec::new(),
        credential: CredentialSlot::None,
    };
    change(&mut descriptor, &mut upstream);
    descriptor.upstreams.push(upstream);
    descriptor
}

/// Sets one list of a descriptor.
type Fill = fn(&mut Descriptor, &mut UpstreamRequest, Vec<String>);

#[test]
fn every_list_is_bounded_in_number_and_length() {
    let lists: [(&str, &str, Fill); 4] = [
        ("produces", "t", |descriptor, _, items| descriptor.produces = items),
        ("methods", "M", |_, upstream, items| upstream.methods = items),
        ("path prefixes", "/", |_, upstream, items| {
            upstream.path_prefixes = items;
        }),
        ("scopes", "s", |_, upstream, items| {
            upstream.credential = CredentialSlot::OAuth2(items);
        }),
    ];
    for (list, item, fill) in lists {
        let problems = |items| descriptor(|descriptor, upstream| fill(descriptor, upstream, items)).problems();
        let many = |count: usize| vec![item.to_owned(); count];
        assert_eq!(problems(many(LIST_ITEMS_MAX)), Vec::<String>::new(), "{list}");
        let found = problems(many(LIST_ITEMS_MAX + 1));
        assert!(
            matches!(found.as_slice(), [one] if one.contains(list)),
            "{list}: {found:?}"
        );
        let long = |length: usize| vec![item.repeat(length)];
        // A method has a bound of its own, far below.
        assert!(
            list == "methods" || problems(long(ATTRIBUTE_BYTES_MAX)).is_empty(),
            "{list}"
        );
        assert!(!problems(long(ATTRIBUTE_BYTES_MAX + 1)).is_empty(), "{list}");
    }
    let patterns = |count| descriptor(|descriptor, _| descriptor.consumes = vec!["a.*".parse().unwrap(); count]);
    assert!(patterns(LIST_ITEMS_MAX).problems().is_empty());
    assert!(patterns(LIST_ITEMS_MAX + 1).problems()[0].contains("consumes"));
}

#[test]
fn a_version_is_bounded() {
    let version = |length: usize| {
        let text = format!("1.0.0-{}", "a".repeat(length - 6));
        descriptor(|descriptor, _| descriptor.version = text.parse().unwrap()).problems()
    };
    assert!(version(VERSION_BYTES_MAX).is_empty());
    assert!(version(VERSION_BYTES_MAX + 1)[0].contains("version"));
}
