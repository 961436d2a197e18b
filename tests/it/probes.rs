//! Telling a probe what to do, and waiting for what comes of it.

use cofferdam_domain::DeliveryState;
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_tests::Running;
use serde_json::Value;

/// One attempt only.
pub(crate) const ONCE: &str = "[policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\nfaults_max = 1\n";

/// Has the connection `p` act, and waits until its delivery is over.
pub(crate) async fn act(server: &Running, id: &str, data: Value) -> DeliveryTrace {
    let accepted = server.api.send_event(id, "test.p", data).await;
    let ended = |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. });
    server
        .api
        .wait_for_state(accepted.accepted[0].correlation_id.as_str(), ended)
        .await
}
