//! One connection: what it was granted, which credentials are set, its policy, and its latest deliveries.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use cofferdam_domain::descriptor::UpstreamRequest;
use cofferdam_domain::{CredentialName, Descriptor, Timestamp, UpstreamGrant, UpstreamName};
use cofferdam_queue::DeliveryFilter;
use cofferdam_vault::{CredentialInfo, Fact, FactQuery};

use super::budget::BudgetRow;
use super::connections::{Back, ConnectionRow, version};
use super::connectors::attached;
use super::consent::TokensRow;
use super::credentials::{self, CredentialLine, FACTS_SHOWN, FactRow};
use super::delivery::DeliveryRow;
use super::flash::FlashQuery;
use super::frame::{Frame, Section, page};
use super::grant::CodeRow;
use super::guard::SignedIn;
use super::policy;
use super::problem_page::ProblemPage;
use super::units::Moment;
use crate::admin::actions;
use crate::admin::views::{self, ConnectionView};
use crate::app::App;
use crate::budgets::{self, BudgetView};
use crate::clock::now;
use crate::problem::Problem;

/// Deliveries that the page shows.
const DELIVERIES_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "panel/connection.html")]
pub(super) struct ConnectionPage {
    pub(super) frame: Frame,
    pub(super) row: ConnectionRow,
    pub(super) owner: Option<String>,
    pub(super) runbook: Option<String>,
    pub(super) revision: u64,
    pub(super) updated: Moment,
    pub(super) code: CodeRow,
    pub(super) hook: Option<Hook>,
    pub(super) upstreams: Vec<UpstreamRow>,
    pub(super) settings: Option<String>,
    pub(super) filter: Option<FilterRow>,
    pub(super) policy: Vec<(&'static str, String)>,
    pub(super) deliveries: Vec<DeliveryRow>,
    pub(super) credentials: Vec<CredentialLine>,
    pub(super) facts: Vec<FactRow>,
}

/// Where a provider sends to.
pub(super) struct Hook {
    pub(super) path: String,
    /// Its address as the provider knows it, if the admin wrote it.
    pub(super) external_url: Option<String>,
    pub(super) scheme: &'static str,
    /// What the scheme checks, in words.
    pub(super) checked: &'static str,
    /// None for a hook that checks nothing.
    pub(super) credential: Option<CredentialRow>,
}

/// A credential, by everything but its value.
pub(super) struct CredentialRow {
    pub(super) name: String,
    pub(super) set: Option<SetCredential>,
}

pub(super) struct SetCredential {
    pub(super) version: u64,
    pub(super) changed: Moment,
}

/// What must be true of an event for it to be delivered, and how that went.
pub(super) struct FilterRow {
    pub(super) expression: String,
    pub(super) answers: String,
    pub(super) problem: Option<FilterProblem>,
}

/// The last event that the filter could not judge.
pub(super) struct FilterProblem {
    pub(super) text: String,
    pub(super) at: Option<Moment>,
}

/// An outside service: what was asked for and what was granted.
pub(super) struct UpstreamRow {
    pub(super) name: String,
    /// None for a grant of something that the connector no longer asks for.
    pub(super) reason: Option<String>,
    pub(super) grant: Option<Granted>,
}

pub(super) struct Granted {
    pub(super) base_url: String,
    pub(super) methods: Vec<String>,
    pub(super) path_prefixes: Vec<String>,
    pub(super) networks: Vec<String>,
    pub(super) credential: Option<CredentialRow>,
    pub(super) attached: String,
    pub(super) budget: Option<BudgetRow>,
    pub(super) client_certificate: Option<CredentialRow>,
    /// Whom TLS trusts, where that is not the platform alone.
    pub(super) trusts: Option<&'static str>,
    pub(super) redirects: u8,
    pub(super) redirect_origins: Vec<String>,
    pub(super) tokens: Option<TokensRow>,
}

/// What the page is made of.
pub(super) struct Shown<'a> {
    pub(super) view: &'a ConnectionView,
    pub(super) version: Option<String>,
    pub(super) descriptor: Option<&'a Descriptor>,
    pub(super) credentials: &'a [CredentialInfo],
    /// Those that it uses.
    pub(super) budgets: &'a [BudgetView],
    pub(super) facts: &'a [Fact],
    pub(super) deliveries: Vec<DeliveryRow>,
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(name): Path<String>,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let workspace = &session.principal.workspace;
    let connection = actions::connection(&app, workspace, &name)?;
    let now = now();
    let view = views::connection_view(&app, &connection).await;
    let view = view.map_err(|error| Problem::internal("reading the connection", &error))?;
    let credentials = app.vault.list(workspace, Some(&connection.spec.name));
    let credentials = credentials.map_err(|error| Problem::internal("listing credentials", &error))?;
    let query = FactQuery {
        connection: Some(connection.spec.name.clone()),
        limit: FACTS_SHOWN,
        ..FactQuery::default()
    };
    let facts = app.vault.facts(workspace, &query);
    let facts = facts.map_err(|error| Problem::internal("listing facts", &error))?;
    let connector = app.plugins.shown(&connection);
    let frame = Frame::of(&app, &session, Section::Connections, now)
        .titled(name)
        .flash(flash.get());
    page(&ConnectionPage::new(
        frame,
        Shown {
            view: &view,
            version: version(&app, &connection),
            descriptor: connector.as_ref().map(|connector| &connector.descriptor),
            credentials: &credentials,
            budgets: &budgets::of(&app, &connection),
            facts: &facts,
            deliveries: deliveries(&app, &view, now)
                .map_err(|error| Problem::internal("listing deliveries", &error))?,
        },
    ))
}

fn deliveries(
    app: &App,
    view: &ConnectionView,
    now: Timestamp,
) -> Result<Vec<DeliveryRow>, cofferdam_queue::QueueError> {
    let connection = &view.connection;
    let filter = DeliveryFilter {
        connection: Some(connection.spec.name.clone()),
        standing: None,
    };
    let latest = app
        .queue
        .deliveries(&connection.workspace, &filter, DELIVERIES_SHOWN, None)?;
    let rows = latest.items.iter().map(|delivery| {
        let event = app.queue.event(&connection.workspace, delivery.event)?;
        Ok(DeliveryRow::new(delivery, event.map(|event| event.kind), now))
    });
    rows.collect()
}

impl ConnectionPage {
    pub(super) fn new(frame: Frame, shown: Shown<'_>) -> Self {
        let (spec, now) = (&shown.view.connection.spec, frame.now);
        let credential = |name: &CredentialName| CredentialRow::new(name, shown.credentials, now);
        let budget = |upstream: &UpstreamName| {
            let uses = |budget: &&BudgetView| {
                let mut users = budget.used_by.iter();
                users.any(|user| user.connection == spec.name && user.upstream == *upstream)
            };
            let budget = shown.budgets.iter().find(uses);
            budget.map(|budget| BudgetRow::new(budget, spec.name.as_str(), now))
        };
        let asked = shown.descriptor.map_or(&[][..], |descriptor| &descriptor.upstreams);
        let of_asked = asked.iter().map(|asked| {
            let grant = spec.upstreams.get(&asked.name);
            let grant = grant.map(|grant| Granted {
                budget: budget(&asked.name),
                ..Granted::new(grant, Some(asked), credential)
            });
            UpstreamRow {
                name: asked.name.to_string(),
                reason: Some(asked.reason.clone()),
                grant,
            }
        });
        let never_asked = spec
            .upstreams
            .iter()
            .filter(|(name, _)| asked.iter().all(|asked| asked.name != **name));
        let of_the_rest = never_asked.map(|(name, grant)| UpstreamRow {
            name: name.to_string(),
            reason: None,
            grant: Some(Granted {
                budget: budget(name),
                ..Granted::new(grant, None, credential)
            }),
        });
        Self {
            row: ConnectionRow::new(shown.view, shown.version, Back::Detail),
            owner: spec.owner.clone(),
            runbook: spec.runbook.clone(),
            revision: shown.view.connection.revision,
            updated: Moment::new(shown.view.connection.updated_at, now),
            code: CodeRow::new(&shown.view.runs, now),
            hook: spec.inbound.as_ref().map(|inbound| Hook {
                path: shown.view.connection.hook_path().unwrap_or_default(),
                external_url: inbound.external_url.as_ref().map(ToString::to_string),
                scheme: inbound.scheme.as_str(),
                checked: inbound.scheme.in_words(),
                credential: inbound.credential.as_ref().map(credential),
            }),
            upstreams: of_asked
                .chain(of_the_rest)
                .map(|row| with_tokens(row, shown.view, now))
                .collect(),
            settings: (!spec.settings.is_empty())
                .then(|| serde_json::to_string_pretty(&spec.settings).unwrap_or_default()),
            policy: policy::kept(shown.view, now)
                .into_iter()
                .chain(policy::policy(&spec.policy))
                .chain(policy::over_maximum(shown.view))
                .collect(),
            filter: spec
                .filter
                .as_ref()
                .map(|expression| FilterRow::new(expression, shown.view, now)),
            deliveries: shown.deliveries,
            credentials: credentials::lines(spec, shown.credentials, now),
            facts: shown.facts.iter().map(|fact| FactRow::new(fact, now)).collect(),
            frame,
        }
    }
}

/// What an admin wrote becomes a link only if it is one to a page.
pub(super) fn is_link(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn with_tokens(mut row: UpstreamRow, view: &ConnectionView, now: Timestamp) -> UpstreamRow {
    let status = row
        .name
        .parse()
        .ok()
        .and_then(|name: UpstreamName| view.oauth2.get(&name));
    if let (Some(grant), Some(status)) = (&mut row.grant, status) {
        grant.tokens = Some(TokensRow::new(status, now));
    }
    row
}

impl CredentialRow {
    fn new(name: &CredentialName, known: &[CredentialInfo], now: Timestamp) -> Self {
        let set = known.iter().find(|info| info.name == *name);
        let set = set.map(|info| SetCredential {
            version: info.version,
            changed: Moment::new(info.updated_at, now),
        });
        Self {
            name: name.to_string(),
            set,
        }
    }
}

impl FilterRow {
    fn new(expression: &str, view: &ConnectionView, now: Timestamp) -> Self {
        let tally = view.filter_answers.clone().unwrap_or_default();
        Self {
            expression: expression.to_owned(),
            answers: policy::answers(&tally),
            problem: tally.last_problem.map(|text| FilterProblem {
                text,
                at: tally.last_problem_at.map(|at| Moment::new(at, now)),
            }),
        }
    }
}

impl Granted {
    /// What the grant leaves open is as the connector asks for it.
    fn new(
        grant: &UpstreamGrant,
        asked: Option<&UpstreamRequest>,
        credential: impl Fn(&CredentialName) -> CredentialRow,
    ) -> Self {
        let or_asked = |own: &[String], asked: Option<&Vec<String>>| match asked {
            Some(asked) if own.is_empty() => asked.clone(),
            Some(_) | None => own.to_vec(),
        };
        let slot = grant.attach.as_ref().or(asked.map(|asked| &asked.credential));
        Self {
            base_url: grant.base_url.to_string(),
            methods: or_asked(&grant.methods, asked.map(|asked| &asked.methods)),
            path_prefixes: or_asked(&grant.path_prefixes, asked.map(|asked| &asked.path_prefixes)),
            networks: grant.networks.iter().map(ToString::to_string).collect(),
            credential: grant.credential.as_ref().map(&credential),
            attached: slot.map_or_else(|| "nowhere".to_owned(), attached),
            budget: None,
            client_certificate: grant.tls.client_certificate.as_ref().map(&credential),
            trusts: grant.tls.ca.as_ref().map(|_| match grant.tls.ca_only {
                true => "its own CAs only",
                false => "its own CAs and the platform's",
            }),
            redirects: grant.redirects,
            redirect_origins: grant.redirect_origins.iter().map(ToString::to_string).collect(),
            tokens: None,
        }
    }
}
