//! DescribeCluster (key 60), versions 0 to 2: the one broker, which is its own controller.
//!
//! - The broker's address depends on who asks; see `advertised`.
//! - 1+: only endpoints of brokers are here: controllers are MISMATCHED_ENDPOINT_TYPE, anything
//!   else is UNSUPPORTED_ENDPOINT_TYPE. 2+: no broker is ever fenced.
//! - Authorised operations, where asked for, are all of them, since there are no ACLs.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::api::metadata::{CLUSTER_OPERATIONS_ALL, OPERATIONS_NOT_ASKED, advertised_address};
use crate::close::CloseReason;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeClusterRequest,
) -> Result<DescribeClusterResponse, CloseReason> {
    let (code, message) = match request.endpoint_type {
        BROKERS => return Ok(describe(&context, request.include_cluster_authorized_operations)),
        CONTROLLERS => (
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of \
             type CONTROLLER"
                .to_owned(),
        ),
        other => {
            (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}"))
        }
    };
    Ok(DescribeClusterResponse {
        error_code: context.answer_code(code),
        error_message: Some(message),
        endpoint_type: BROKERS,
        controller_id: -1,
        cluster_authorized_operations: OPERATIONS_NOT_ASKED,
        ..Default::default()
    })
}

fn describe(context: &RequestContext, operations: bool) -> DescribeClusterResponse {
    let options = context.broker().options();
    let address = advertised_address(context);
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: options.cluster_id.clone(),
        controller_id: options.node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: options.node_id,
            host: address.host,
            port: i32::from(address.port),
            ..Default::default()
        }],
        cluster_authorized_operations: match operations {
            true => CLUSTER_OPERATIONS_ALL,
            false => OPERATIONS_NOT_ASKED,
        },
        ..Default::default()
    }
}
