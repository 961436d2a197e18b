//! What a connector asks for, in the form in which two versions of it are compared, and what an admin has granted of that.
//!
//! Of a descriptor only that counts which a connection's file may leave to it: methods, paths, where a credential goes, and that
//! there is an upstream, a state or a schedule at all. Base URLs are always the admin's, and event types that a connector says
//! it takes or makes bind nobody, so they are no reason to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::connection::CredentialSlot;
use crate::descriptor::{Descriptor, UpstreamRequest};
use crate::hash::Digest;
use crate::id::UpstreamName;

/// Most digests that one connection remembers as granted earlier, and most that it remembers as refused; the oldest go first.
/// One more refusal than that is not forgotten altogether: see [`Grant::only_granted`].
pub const DECIDED_MAX: usize = 16;

/// Hears of each thing that is asked for beyond a grant, and says whether it wants to hear of the next. Words are only made of
/// those that it takes.
type Beyond<'a> = dyn FnMut(fmt::Arguments<'_>) -> ControlFlow<()> + 'a;

/// What a connector asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Outside services.
    pub upstreams: BTreeMap<UpstreamName, UpstreamAsks>,
    /// The signature scheme that it expects of incoming requests.
    pub inbound: Option<String>,
    /// To keep something between calls.
    pub state: bool,
    /// To be polled, and how often, in seconds.
    pub poll_every_s: Option<u32>,
}

/// What a connector asks for at one outside service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAsks {
    /// Methods.
    pub methods: BTreeSet<String>,
    /// Path prefixes; empty means any path.
    pub path_prefixes: BTreeSet<String>,
    /// Where the credential goes.
    pub credential: CredentialSlot,
}

/// What an admin has decided about the versions of a connection's connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the version asked for that was granted last; none of a connection that was applied before this was kept.
    #[serde(default)]
    pub asks: Option<Asks>,
    /// The key that had signed that version.
    #[serde(default)]
    pub signer: Option<String>,
    /// Other digests that were granted and not refused since; the latest first.
    #[serde(default)]
    pub earlier: Vec<Digest>,
    /// Digests that were refused; the latest first.
    #[serde(default)]
    pub refused: Vec<Digest>,
    /// More was refused than is remembered, so what nobody remembers may be one of those: until the next grant nothing runs but
    /// what was granted itself.
    #[serde(default)]
    pub only_granted: bool,
}

impl Asks {
    /// What this descriptor asks for.
    pub fn of(descriptor: &Descriptor) -> Self {
        let upstreams = descriptor.upstreams.iter();
        Self {
            upstreams: upstreams
                .map(|asked| (asked.name.clone(), UpstreamAsks::of(asked)))
                .collect(),
            inbound: descriptor.inbound.clone(),
            state: descriptor.wants_state,
            poll_every_s: descriptor.poll_every_s,
        }
    }

    /// Everything that is asked for here and not there, each as a sentence; empty if this asks for no more.
    pub fn beyond(&self, granted: &Self) -> Vec<String> {
        let mut more = Vec::new();
        // It is never told to stop.
        _ = self.each_beyond(granted, &mut |sentence| {
            more.push(sentence.to_string());
            ControlFlow::Continue(())
        });
        more
    }

    /// Whether anything is asked for here and not there. It looks no further than the first, and makes no sentence of it.
    pub fn asks_beyond(&self, granted: &Self) -> bool {
        self.each_beyond(granted, &mut |_| ControlFlow::Break(())).is_break()
    }

    fn each_beyond(&self, granted: &Self, more: &mut Beyond<'_>) -> ControlFlow<()> {
        for (name, asks) in &self.upstreams {
            match granted.upstreams.get(name) {
                None => more(format_args!("upstream {name}: {asks}"))?,
                Some(granted) => asks.each_beyond(granted, name, more)?,
            }
        }
        if let Some(scheme) = &self.inbound
            && granted.inbound.as_ref() != Some(scheme)
        {
            more(format_args!("incoming requests by the scheme {scheme}"))?;
        }
        if self.state && !granted.state {
            more(format_args!("state that is kept between calls"))?;
        }
        if let Some(every) = self.poll_every_s
            && granted.poll_every_s.is_none_or(|granted| every < granted)
        {
            more(format_args!("to be polled every {every} s"))?;
        }
        ControlFlow::Continue(())
    }
}

impl UpstreamAsks {
    fn of(asked: &UpstreamRequest) -> Self {
        Self {
            methods: asked.methods.iter().cloned().collect(),
            path_prefixes: asked.path_prefixes.iter().cloned().collect(),
            credential: asked.credential.clone(),
        }
    }

    fn each_beyond(&self, granted: &Self, name: &UpstreamName, more: &mut Beyond<'_>) -> ControlFlow<()> {
        for method in self.methods.difference(&granted.methods) {
            more(format_args!("upstream {name}: the method {method}"))?;
        }
        if !granted.path_prefixes.is_empty() {
            if self.path_prefixes.is_empty() {
                more(format_args!("upstream {name}: any path"))?;
            }
            for prefix in &self.path_prefixes {
                if !granted.path_prefixes.iter().any(|granted| covers(granted, prefix)) {
                    more(format_args!("upstream {name}: paths under {prefix}"))?;
                }
            }
        }
        match (&self.credential, &granted.credential) {
            // Without a credential it can do less.
            (CredentialSlot::None, _) => {}
            (CredentialSlot::OAuth2(scopes), CredentialSlot::OAuth2(granted)) => {
                for scope in scopes.iter().filter(|scope| !granted.contains(scope)) {
                    more(format_args!("upstream {name}: the scope {scope}"))?;
                }
            }
            (asked, granted) if asked == granted => {}
            (asked, _) => more(format_args!("upstream {name}: a credential attached as `{asked}`"))?,
        }
        ControlFlow::Continue(())
    }
}

/// In words, for people.
impl fmt::Display for UpstreamAsks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of ", listed(&self.methods))?;
        if self.path_prefixes.is_empty() {
            out.write_str("any path")?;
        } else {
            out.write_str(&listed(&self.path_prefixes))?;
        }
        write!(out, ", credential `{}`", self.credential)
    }
}

impl Grant {
    /// After `digest`, signed by `signer`, was granted in the place of `before`.
    #[must_use]
    pub fn granting(&self, digest: Digest, before: Option<Digest>, asks: Asks, signer: Option<String>) -> Self {
        let refused: Vec<Digest> = without(&self.refused, digest);
        let earlier = before.into_iter().chain(self.earlier.iter().copied());
        Self {
            asks: Some(asks),
            signer,
            // One that was refused since it was granted does not come back with another's grant.
            earlier: first(earlier.filter(|earlier| *earlier != digest && !refused.contains(earlier))),
            refused,
            only_granted: false,
        }
    }

    /// After `digest` was refused. `granted` is what was granted last: were its own refusal forgotten, it would run again.
    #[must_use]
    pub fn refusing(&self, digest: Digest, granted: Option<Digest>) -> Self {
        let mut refused = without(&self.refused, digest);
        refused.insert(0, digest);
        let mut only_granted = self.only_granted;
        while refused.len() > DECIDED_MAX {
            let Some(oldest) = refused.iter().rposition(|refused| Some(*refused) != granted) else {
                break;
            };
            refused.remove(oldest);
            only_granted = true;
        }
        Self {
            earlier: without(&self.earlier, digest),
            refused,
            only_granted,
            ..self.clone()
        }
    }

    /// After the connection's file was changed in what it allows: of what was granted earlier only that stays of which `asks`
    /// tells that it asks for no more than what is granted now. A file leaves methods, paths and slots to the code that runs, so
    /// a grant by an older file says nothing about this one.
    #[must_use]
    pub fn narrowed(&self, asks: impl Fn(Digest) -> Option<Asks>) -> Self {
        let granted = self.asks.as_ref();
        let asks_no_more = |digest: &Digest| match (asks(*digest), granted) {
            (Some(asks), Some(granted)) => !asks.asks_beyond(granted),
            (None, _) | (_, None) => false,
        };
        Self {
            earlier: self.earlier.iter().copied().filter(asks_no_more).collect(),
            ..self.clone()
        }
    }
}

fn without(digests: &[Digest], digest: Digest) -> Vec<Digest> {
    digests.iter().copied().filter(|other| *other != digest).collect()
}

/// The first of them, each once.
fn first(digests: impl Iterator<Item = Digest>) -> Vec<Digest> {
    let mut kept: Vec<Digest> = Vec::new();
    for digest in digests {
        if kept.len() < DECIDED_MAX && !kept.contains(&digest) {
            kept.push(digest);
        }
    }
    kept
}

/// Whether every path under `prefix` is under `granted`: as the gate reads prefixes, which end at a segment's border.
fn covers(granted: &str, prefix: &str) -> bool {
    prefix
        .strip_prefix(granted)
        .is_some_and(|rest| rest.is_empty() || granted.ends_with('/') || rest.starts_with('/'))
}

fn listed(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
