//! ListConfigResources (key 74), versions 0 and 1: what has settings.
//!
//! - 0: client metrics subscriptions. 1: resources of the types asked for, of all types where none
//!   is; a type that Kafka does not know is UNSUPPORTED_VERSION.
//! - Topics and the broker are listed whether or not anything was set on them; groups and client
//!   metrics subscriptions where something was.

use std::collections::BTreeSet;

use weir_core::settings::holder::Holder;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use crate::close::CloseReason;
use crate::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

const TYPES: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

pub(crate) async fn handle(
    context: RequestContext,
    request: ListConfigResourcesRequest,
) -> Result<ListConfigResourcesResponse, CloseReason> {
    let asked: BTreeSet<i8> = request.resource_types.into_iter().collect();
    if !asked.iter().all(|kind| TYPES.contains(kind)) {
        let error_code = context.answer_code(ErrorCode::UNSUPPORTED_VERSION);
        return Ok(ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let is_asked = |kind: &i8| match context.version {
        0 => *kind == CLIENT_METRICS,
        _ => asked.is_empty() || asked.contains(kind),
    };
    let list = |kind: i8| {
        let resource = move |resource_name| ConfigResource { resource_name, resource_type: kind };
        names(&context, kind).into_iter().map(resource)
    };
    let config_resources = TYPES.into_iter().filter(is_asked).flat_map(list).collect();
    Ok(ListConfigResourcesResponse { config_resources, ..Default::default() })
}

fn names(context: &RequestContext, kind: i8) -> Vec<String> {
    let broker = context.broker();
    match kind {
        TOPIC => broker.streams().iter().map(|stream| stream.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => vec![broker.options().node_id.to_string()],
        _ => {
            let named = |holder| match holder {
                Holder::Group(name) if kind == GROUP => Some(name),
                Holder::ClientMetrics(name) if kind == CLIENT_METRICS => Some(name),
                _ => None,
            };
            broker.configurations().holders().into_iter().filter_map(named).collect()
        }
    }
}
