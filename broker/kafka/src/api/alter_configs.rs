//! AlterConfigs (key 33), versions 0 to 2: set the settings of a resource, all of them.
//!
//! - What is not named is as if it had never been set; that is why the call is deprecated.
//! - Each resource is judged on its own, and what is accepted is one commit; a resource named twice
//!   is INVALID_REQUEST.
//! - Topics, the broker, all brokers (""), groups and client metrics subscriptions. Unknown names
//!   and bad values are INVALID_CONFIG, for the broker and for client metrics INVALID_REQUEST.
//! - validate_only checks everything and changes nothing.

use weir_core::settings::alteration::Changes;
use weir_kafka_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
    AlterableConfig,
};

use crate::close::CloseReason;
use crate::configs::{self, AskedChanges, ChangeOutcome, NullValue};
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["log levels are not changed"];

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterConfigsRequest,
) -> Result<AlterConfigsResponse, CloseReason> {
    let asked = |resource: AlterConfigsResource| {
        let value = |config: AlterableConfig| (config.name, config.value.ok_or(NullValue));
        let settings = configs::by_name(resource.configs.into_iter().map(value));
        AskedChanges {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            changes: settings.map(Changes::All),
        }
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
    Ok(AlterConfigsResponse { throttle_time_ms: 0, responses })
}
