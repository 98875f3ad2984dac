// Writes the .batch files of this folder with Kafka's own Java client. How to run it: README.md.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;

public class MakeBatches {
    static final long TIME = 1_700_000_000_000L;

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void write(String name, MemoryRecords records) throws Exception {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        Files.write(Path.of(name + ".batch"), bytes);
    }

    static MemoryRecordsBuilder builder(Compression compression, TimestampType type, long producerId,
                                        short epoch, int sequence, boolean transactional) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, compression,
            type, 0L, TIME + 1000, producerId, epoch, sequence, transactional, -1);
    }

    // One of each shape: all fields, no key with an empty value, an empty key without a value.
    static void shapes(MemoryRecordsBuilder builder) {
        Header[] headers = {new RecordHeader("one", utf8("1")), new RecordHeader("none", (byte[]) null),
            new RecordHeader("", new byte[0])};
        builder.append(TIME, utf8("key"), utf8("value"), headers);
        builder.append(TIME + 70, null, new byte[0]);
        builder.append(TIME - 30, new byte[0], null);
    }

    public static void main(String[] args) throws Exception {
        for (CompressionType codec : CompressionType.values()) {
            Compression compression = Compression.of(codec).build();
            MemoryRecordsBuilder few = builder(compression, TimestampType.CREATE_TIME, -1, (short) -1, -1, false);
            shapes(few);
            write("java-few-" + codec.name, few.build());
            if (codec == CompressionType.NONE) continue;
            // 120 KB of records: several blocks of lz4 (64 KiB) and of snappy-java (32 KiB).
            MemoryRecordsBuilder many = builder(compression, TimestampType.CREATE_TIME, -1, (short) -1, -1, false);
            for (int i = 0; i < 1000; i++) {
                many.append(TIME + i, utf8("key-" + i), utf8(("value-" + i + " ").repeat(10)));
            }
            write("java-many-" + codec.name, many.build());
        }
        MemoryRecordsBuilder appended = builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, -1, (short) -1, -1, false);
        shapes(appended);
        write("java-log-append-time", appended.build());
        MemoryRecordsBuilder transactional = builder(Compression.NONE, TimestampType.CREATE_TIME, 4711, (short) 7,
            Integer.MAX_VALUE - 1, true);
        shapes(transactional);
        write("java-transactional", transactional.build());
        write("java-commit-marker", MemoryRecords.withEndTransactionMarker(42L, TIME, 3, 4711L, (short) 7,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
    }
}
