//! Where an error's [`ErrorDetail`] lies in what gRPC sends of it.
//!
//! gRPC's own libraries look for details in a `google.rpc.Status` that travels beside the status,
//! in the trailer `grpc-status-details-bin`: <https://grpc.io/docs/guides/error/>.

use prost::Message;

use crate::v1::ErrorDetail;

/// What an [`ErrorDetail`] is called inside a `google.protobuf.Any`.
const DETAIL_TYPE: &str = "type.googleapis.com/weir.v1.ErrorDetail";

/// `google.rpc.Status`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The bytes of a status with this code, its sentence and its detail.
pub fn encode(code: i32, detail: &ErrorDetail) -> Vec<u8> {
    let any = Any { type_url: DETAIL_TYPE.to_owned(), value: detail.encode_to_vec() };
    let message = detail.message.clone();
    RpcStatus { code, message, details: vec![any] }.encode_to_vec()
}

/// The detail in the bytes of a status; none if there is none of ours.
pub fn decode(status: &[u8]) -> Option<ErrorDetail> {
    let details = RpcStatus::decode(status).ok()?.details;
    // Only what follows the last slash is a type's name.
    let is_ours = |any: &&Any| any.type_url.ends_with("/weir.v1.ErrorDetail");
    ErrorDetail::decode(&*details.iter().find(is_ours)?.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::error_detail::Reason;

    #[test]
    fn a_detail_stands_where_grpc_libraries_look_for_it() {
        let detail = ErrorDetail {
            reason: Reason::OverQuota.into(),
            message: "slowly".to_owned(),
            retry_after_ms: 250,
        };
        let status = encode(8, &detail);
        let rpc = RpcStatus::decode(&*status).expect("a google.rpc.Status");
        assert_eq!((rpc.code, rpc.message.as_str()), (8, "slowly"));
        assert_eq!(rpc.details[0].type_url, DETAIL_TYPE);
        assert_eq!(decode(&status), Some(detail));
        assert_eq!(decode(b"\xff"), None);
    }
}
