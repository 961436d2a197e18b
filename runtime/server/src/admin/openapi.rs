//! `/openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;

pub(super) async fn document() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        include_str!("openapi.json"),
    )
}

#[cfg(test)]
mod tests {
    /// A route that the document does not know, or the reverse, is a promise broken either way.
    #[test]
    fn the_document_describes_exactly_the_routes_there_are() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut described: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let mut routed: Vec<String> = include_str!("../admin.rs")
            .split(".route(")
            .skip(1)
            .filter_map(|route| route.trim_start().strip_prefix('"')?.split('"').next())
            .filter(|path| *path != "/openapi.json")
            .map(str::to_owned)
            .collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn the_document_names_every_health_that_there_is() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let described = &document["components"]["schemas"]["Connection"]["properties"]["health"]["enum"];
        assert_eq!(*described, serde_json::json!(crate::admin::views::Health::ALL));
    }
}
