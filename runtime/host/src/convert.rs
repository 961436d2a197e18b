//! Between the contract's types and the domain's. Types only: policy lives elsewhere.

use std::time::Duration;

use cofferdam_domain::classify::ExpectedConfirmation;
use cofferdam_domain::event::{Event, EventDraft};
use cofferdam_domain::limits::{CODE_BYTES_MAX, EXTERNAL_ID_BYTES_MAX, MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{GuestFailure, GuestFailureKind, Receipt, Timestamp};

use crate::bindings::types;

pub(crate) fn event(event: Event, body: Vec<u8>) -> types::Event {
    types::Event {
        id: event.id.to_string(),
        correlation_id: event.correlation_id.into(),
        type_: event.kind,
        source: event.source,
        subject: event.subject,
        time: event.time.map(Timestamp::as_millis),
        received_at: event.received_at.as_millis(),
        data_content_type: event.data_content_type,
        data_schema: event.data_schema,
        extensions: event.extensions.into_iter().collect(),
        data: body,
    }
}

/// What the host holds of an event while a guest has it.
pub(crate) fn event_bytes(event: &types::Event) -> usize {
    let extensions = event.extensions.iter().map(|(name, value)| name.len() + value.len());
    event.data.len() + event.type_.len() + event.source.len() + extensions.sum::<usize>()
}

pub(crate) fn draft(draft: types::EventDraft) -> EventDraft {
    EventDraft {
        kind: draft.type_,
        source: draft.source,
        subject: draft.subject,
        time: draft.time.map(Timestamp::from_millis),
        data_content_type: draft.data_content_type,
        data_schema: draft.data_schema,
        extensions: draft.extensions.into_iter().collect(),
        data: draft.data,
        dedupe_key: draft.dedupe_key,
    }
}

/// An external id over its bound is a fault, since a cut one would name another thing; a summary is only cut.
pub(crate) fn receipt(receipt: types::Receipt) -> Result<Receipt, String> {
    let external_id = match receipt.external_id {
        Some(id) if id.len() > EXTERNAL_ID_BYTES_MAX => {
            return Err(format!(
                "the external id has {} bytes; {EXTERNAL_ID_BYTES_MAX} are allowed",
                id.len()
            ));
        }
        id => id,
    };
    let confirmation = match receipt.confirmation {
        Some(expected) if expected.key.len() > EXTERNAL_ID_BYTES_MAX => {
            return Err(format!(
                "the confirmation key is longer than {EXTERNAL_ID_BYTES_MAX} bytes"
            ));
        }
        Some(expected) => Some(ExpectedConfirmation {
            key: expected.key,
            within_ms: expected.within_ms,
        }),
        None => None,
    };
    let summary = receipt.summary.map(|text| one_line(&text, MESSAGE_BYTES_MAX));
    Ok(Receipt {
        external_id,
        summary,
        confirmation,
    })
}

pub(crate) fn failure(failure: types::Failure) -> GuestFailure {
    GuestFailure {
        kind: match failure.kind {
            types::FailureKind::Auth => GuestFailureKind::Auth,
            types::FailureKind::RateLimited => GuestFailureKind::RateLimited,
            types::FailureKind::Dependency => GuestFailureKind::Dependency,
            types::FailureKind::Invalid => GuestFailureKind::Invalid,
            types::FailureKind::DataQuality => GuestFailureKind::DataQuality,
            types::FailureKind::Configuration => GuestFailureKind::Configuration,
            types::FailureKind::Gone => GuestFailureKind::Gone,
        },
        code: failure.code.map(|code| one_line(&code, CODE_BYTES_MAX)),
        message: one_line(&failure.message, MESSAGE_BYTES_MAX),
        retry_after: failure.retry_after_ms.map(Duration::from_millis),
    }
}
