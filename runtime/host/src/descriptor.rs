//! `describe`, run at load with no capability at all, and the check of what it returns.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::connection::{CallLimit, CredentialSlot};
use cofferdam_domain::descriptor::{Descriptor, LIST_ITEMS_MAX, UPSTREAMS_MAX, UpstreamRequest};
use cofferdam_domain::limits::SETTINGS_BYTES_MAX;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::describes;
use crate::bindings::describes::exports::cofferdam::connector::describe as wit;
use crate::call::{Ask, Call};
use crate::connector::LoadError;
use crate::engine::Engine;
use crate::environment::Nothing;
use crate::fault::BadReturn;
use crate::imports::Guest;
use crate::limits::{CallLimits, size};
use crate::slots::Slot;

/// A descriptor is a constant: what cannot say it within this time does something else. What it is made of may be as much as any
/// connection can be given.
pub(crate) fn load_limits(engine: &Engine) -> CallLimits {
    let most = |limit| size(engine.maximum.of(limit));
    CallLimits {
        deadline: Duration::from_secs(5),
        cpu: Duration::from_secs(2),
        memory_bytes: most(CallLimit::Memory),
        table_elements: most(CallLimit::TableElements),
        instances: most(CallLimit::Instances),
        handles: most(CallLimit::Handles),
        ..CallLimits::default()
    }
}

/// How long loading waits for incoming requests to leave a slot.
const SLOT_WAIT: Duration = Duration::from_secs(60);

/// The right to one call while loading.
pub(crate) async fn load_slot(engine: &Engine) -> Result<Slot, LoadError> {
    let slot = engine.describing.slot(SLOT_WAIT).await;
    slot.ok_or_else(|| LoadError::NotNow("no instance was free to describe it; load it again".to_owned()))
}

/// Reads and checks the descriptor.
pub(crate) async fn read(engine: &Engine, component: &InstancePre<Guest>) -> Result<Descriptor, LoadError> {
    let slot = load_slot(engine).await?;
    let indices = describes::DescribesIndices::new(component)
        .map_err(|error| LoadError::Unfit(format!("`describe` has the wrong type: {error:#}")))?;
    let report = Call::new(engine, component, Arc::new(Nothing), load_limits(engine), slot)
        .run(Describe(indices))
        .await;
    report.result.map_err(|fault| {
        let kind = fault.kind.code();
        LoadError::Unfit(format!("`describe` failed ({kind}): {}", fault.message))
    })
}

struct Describe(describes::DescribesIndices);

impl Ask for Describe {
    type Returned = Descriptor;

    async fn ask(self, store: &mut Store<Guest>, instance: Instance) -> wasmtime::Result<Descriptor> {
        let guest = self.0.load(&mut *store, &instance)?;
        let said = guest.cofferdam_connector_describe().call_describe(store).await?;
        Ok(checked(said).map_err(BadReturn)?)
    }
}

fn checked(said: wit::Descriptor) -> Result<Descriptor, String> {
    if said.settings_schema.len() > SETTINGS_BYTES_MAX {
        return Err(format!("settings-schema is larger than {SETTINGS_BYTES_MAX} bytes"));
    }
    // Before anything is made of it: nothing ends a host that works through a list.
    at_most("upstreams", said.upstreams.len(), UPSTREAMS_MAX)?;
    at_most("consumes", said.consumes.len(), LIST_ITEMS_MAX)?;
    at_most("produces", said.produces.len(), LIST_ITEMS_MAX)?;
    let descriptor = Descriptor {
        name: said.name.parse().map_err(|error| format!("name: {error}"))?,
        version: said
            .version
            .parse()
            .map_err(|error| format!("version is not semantic: {error}"))?,
        summary: said.summary,
        settings_schema: serde_json::from_str(&said.settings_schema)
            .map_err(|error| format!("settings-schema is not JSON: {error}"))?,
        upstreams: said.upstreams.into_iter().map(upstream).collect::<Result<_, _>>()?,
        inbound: said.inbound.map(|scheme| scheme_name(scheme).to_owned()),
        consumes: said
            .consumes
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|e| format!("consumes: {e}"))?,
        produces: said.produces,
        wants_state: said.wants_state,
        poll_every_s: said.poll_every_s,
    };
    match descriptor.problems() {
        problems if problems.is_empty() => Ok(descriptor),
        problems => Err(problems.join("; ")),
    }
}

fn at_most(list: &str, items: usize, max: usize) -> Result<(), String> {
    if items > max {
        return Err(format!("{list} has {items} entries; {max} are allowed"));
    }
    Ok(())
}

fn upstream(said: wit::UpstreamRequest) -> Result<UpstreamRequest, String> {
    at_most("methods", said.methods.len(), LIST_ITEMS_MAX)?;
    at_most("path-prefixes", said.path_prefixes.len(), LIST_ITEMS_MAX)?;
    let name = said.name.parse().map_err(|error| format!("upstreams: {error}"))?;
    Ok(UpstreamRequest {
        base_url: match said.base_url {
            Some(url) => Some(url.parse().map_err(|error| format!("upstream {name}: {error}"))?),
            None => None,
        },
        reason: said.reason,
        methods: said.methods,
        path_prefixes: said.path_prefixes,
        credential: slot(said.credential).map_err(|error| format!("upstream {name}: {error}"))?,
        name,
    })
}

/// Through the slot's own text form, so that one rule checks what connectors ask for and what admins write.
fn slot(said: wit::CredentialSlot) -> Result<CredentialSlot, String> {
    let text = match said {
        wit::CredentialSlot::None => "none".to_owned(),
        wit::CredentialSlot::Bearer => "bearer".to_owned(),
        wit::CredentialSlot::Basic => "basic".to_owned(),
        wit::CredentialSlot::Header(header) => format!("header {} {}", header.name, header.prefix),
        wit::CredentialSlot::Query(name) => format!("query {name}"),
        wit::CredentialSlot::Oauth2(scopes) => {
            at_most("scopes", scopes.len(), LIST_ITEMS_MAX)?;
            format!("oauth2 {}", scopes.join(" "))
        }
        wit::CredentialSlot::HmacSha256(header) => format!("hmac-sha256 {} {}", header.name, header.prefix),
        wit::CredentialSlot::StandardWebhooks => "standard-webhooks".to_owned(),
        wit::CredentialSlot::Hmac => "hmac".to_owned(),
        wit::CredentialSlot::AwsSigv4(scope) => format!("aws-sigv4 {} {}", scope.region, scope.service),
    };
    text.parse().map_err(|error| format!("{error}"))
}

fn scheme_name(scheme: wit::InboundRequestScheme) -> &'static str {
    match scheme {
        wit::InboundRequestScheme::Github => "github",
        wit::InboundRequestScheme::StandardWebhooks => "standard-webhooks",
        wit::InboundRequestScheme::Slack => "slack",
        wit::InboundRequestScheme::Stripe => "stripe",
        wit::InboundRequestScheme::Shopify => "shopify",
        wit::InboundRequestScheme::Twilio => "twilio",
        wit::InboundRequestScheme::HmacSha256 => "hmac-sha256",
        wit::InboundRequestScheme::Basic => "basic",
        wit::InboundRequestScheme::Bearer => "bearer",
        wit::InboundRequestScheme::None => "none",
    }
}
