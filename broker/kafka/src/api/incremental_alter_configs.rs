//! IncrementalAlterConfigs (key 44), versions 0 and 1: change some settings of a resource.
//!
//! - Operations: 0 set, 1 delete, 2 append and 3 subtract (lists only, else INVALID_CONFIG). Where
//!   one does not exist every resource of the request is UNKNOWN_SERVER_ERROR, as in Kafka.
//! - Each resource is judged on its own, and what is accepted is one commit; a resource named twice
//!   is INVALID_REQUEST, as is a setting named twice or one without the value that it needs.
//! - Topics, the broker, all brokers (""), groups and client metrics subscriptions. Unknown names
//!   and bad values are INVALID_CONFIG, for the broker and for client metrics INVALID_REQUEST.
//! - validate_only checks everything and changes nothing.

use weir_core::settings::alteration::{Change, Changes};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::close::CloseReason;
use crate::configs::{self, AskedChanges, ChangeOutcome, NullValue};
use crate::errors::Refusal;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["log levels are not changed"];

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Result<IncrementalAlterConfigsResponse, CloseReason> {
    let mut configs = request.resources.iter().flat_map(|resource| &resource.configs);
    let has_unknown = configs.any(|config| !(SET..=SUBTRACT).contains(&config.config_operation));
    let asked = |resource: AlterConfigsResource| AskedChanges {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        changes: if has_unknown {
            Err(Refusal::of(ErrorCode::UNKNOWN_SERVER_ERROR))
        } else {
            configs::by_name(resource.configs.into_iter().map(change)).map(Changes::Some)
        },
    };
    let asked = request.resources.into_iter().map(asked).collect();
    let outcomes = configs::change(&context, asked, request.validate_only).await;
    let response = |outcome: ChangeOutcome| AlterConfigsResourceResponse {
        error_code: outcome.error_code,
        error_message: outcome.error_message,
        resource_type: outcome.resource_type,
        resource_name: outcome.resource_name,
    };
    let responses = outcomes.into_iter().map(response).collect();
    Ok(IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses })
}

/// A change whose operation exists.
fn change(config: AlterableConfig) -> (String, Result<Change, NullValue>) {
    let value = config.value.ok_or(NullValue);
    let change = match config.config_operation {
        DELETE => Ok(Change::Remove),
        APPEND => value.map(Change::Append),
        SUBTRACT => value.map(Change::Subtract),
        _ => value.map(Change::Set),
    };
    (config.name, change)
}
