//! ApiVersions (key 18), versions 0 to 4: what this broker serves.
//!
//! - The first request of nearly every client, answered before authentication.
//! - A version above 4 is answered with UNSUPPORTED_VERSION in a body of version 0 that lists
//!   ApiVersions alone, so that the client can ask again (KIP-511).
//! - 3+: name and version of the client's software must be Kafka's pattern, else INVALID_REQUEST.
//! - Produce is listed from 0 though 3 is the first that works: librdkafka switches compression off
//!   when it does not see Produce 0 (KAFKA-18659).
//!
//! - 3+: the features (KIP-584) that clients go by: `group.version` 1, which is KIP-848. As in
//!   Kafka the range that is supported is told from 4 on, since it begins with 0.
//!
//! Left out: `transaction.version` and the other features. A client that does not find one takes
//! the path without it.

use weir_kafka_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use weir_kafka_protocol::{ApiKey, ErrorCode};

use crate::close::CloseReason;
use crate::dispatch::{SERVED, ServedApi};

use crate::exchange::{Exchange, PendingAnswer, RequestContext};

pub(crate) const GAPS: &[&str] = &["of the features (KIP-584) only `group.version`"];

/// The feature that says whether a broker serves KIP-848.
const GROUP_VERSION: &str = "group.version";
/// First version whose clients can read a range of a feature that begins with 0.
const ZERO_FEATURES_FROM: i16 = 4;
/// The level of every feature was decided with the release, and never since.
const FEATURES_EPOCH: i64 = 0;

pub(crate) async fn handle(
    context: RequestContext,
    request: ApiVersionsRequest,
) -> Result<ApiVersionsResponse, CloseReason> {
    let names_its_software = is_software_name(&request.client_software_name)
        && is_software_name(&request.client_software_version);
    if context.version >= 3 && !names_its_software {
        let error_code = context.answer_code(ErrorCode::INVALID_REQUEST);
        return Ok(ApiVersionsResponse { error_code, ..Default::default() });
    }
    let api_keys = SERVED.iter().map(listed).collect();
    let supported = (context.version >= ZERO_FEATURES_FROM).then(|| SupportedFeatureKey {
        name: GROUP_VERSION.to_owned(),
        min_version: 0,
        max_version: 1,
    });
    let finalized = FinalizedFeatureKey {
        name: GROUP_VERSION.to_owned(),
        max_version_level: 1,
        min_version_level: 1,
    };
    Ok(ApiVersionsResponse {
        api_keys,
        supported_features: supported.into_iter().collect(),
        finalized_features_epoch: FEATURES_EPOCH,
        finalized_features: vec![finalized],
        ..Default::default()
    })
}

/// Answers a version that is not served, in the one form that every client can read.
pub(crate) fn answer_unsupported_version(
    exchange: &Exchange,
) -> Result<PendingAnswer, CloseReason> {
    let this_api = SERVED.iter().filter(|api| api.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: exchange.context.answer_code(ErrorCode::UNSUPPORTED_VERSION),
        api_keys: this_api.map(listed).collect(),
        ..Default::default()
    };
    let answer = exchange.answer_in_version(&response, 0, Vec::new())?;
    Ok(Box::pin(std::future::ready(Ok(Some(answer)))))
}

fn listed(api: &ServedApi) -> ApiVersion {
    ApiVersion { api_key: api.key.as_i16(), min_version: api.listed_from, max_version: api.last }
}

/// Kafka's `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software_name(text: &str) -> bool {
    let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends_well(text.chars().next())
        && ends_well(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for (text, legal) in [
            ("apache-kafka-java", true),
            ("4.2.0", true),
            ("x", true),
            ("", false),
            ("-x", false),
            ("x.", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(is_software_name(text), legal, "{text}");
        }
    }
}
