//! A stream's attributes as Kinesis shows them.

use weir_core::stream::distribution::Distribution;
use weir_core::stream::mode::StreamMode;
use weir_core::stream::stream::Stream;

use crate::input::Input;
use crate::wire::ReplyWriter;

/// The mode that a request gives a stream; provisioned where it says nothing.
pub(crate) fn mode_of_input(input: &Input<'_>) -> StreamMode {
    let details = input.structure("StreamModeDetails");
    match details.and_then(|details| details.text("StreamMode")) {
        Some("ON_DEMAND") => StreamMode::OnDemand,
        _ => StreamMode::Provisioned,
    }
}

/// What Kinesis calls a way to spread records.
pub(crate) const fn distribution_name(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::ByKey => "USER_PARTITION_KEY",
        Distribution::Even => "AUTO",
    }
}

/// The way to spread records that Kinesis calls so; the name was checked.
pub(crate) fn distribution_of_name(name: &str) -> Distribution {
    match name {
        "AUTO" => Distribution::Even,
        _ => Distribution::ByKey,
    }
}

/// The member `EncryptionType` of an answer to a put; absent where nothing is encrypted.
pub(crate) fn write_encryption_type(writer: &mut ReplyWriter, stream: &Stream) {
    if stream.attributes().encryption.key().is_some() {
        writer.text_member("EncryptionType", "KMS");
    }
}
