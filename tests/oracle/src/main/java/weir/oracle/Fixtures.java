package weir.oracle;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Encoded messages in a file, in groups of one message and version. Numbers are big-endian.
 *
 * <pre>
 *   group    name length u8 | name | version i16 | sample count u16 | samples
 *   sample   length u32 | bytes
 * </pre>
 *
 * Rust reads and writes the same files: proto/kafka/tests/fixtures/mod.rs.
 */
final class Fixtures {
    record Group(String name, short version, List<byte[]> samples) {}

    private Fixtures() {}

    static void write(Path path, List<Group> groups) throws IOException {
        try (var out = new DataOutputStream(new java.io.BufferedOutputStream(Files.newOutputStream(path)))) {
            for (Group group : groups) {
                byte[] name = group.name().getBytes(java.nio.charset.StandardCharsets.UTF_8);
                out.writeByte(name.length);
                out.write(name);
                out.writeShort(group.version());
                out.writeShort(group.samples().size());
                for (byte[] sample : group.samples()) {
                    out.writeInt(sample.length);
                    out.write(sample);
                }
            }
        }
    }

    static List<Group> read(Path path) throws IOException {
        List<Group> groups = new ArrayList<>();
        try (var in = new DataInputStream(new java.io.BufferedInputStream(Files.newInputStream(path)))) {
            while (true) {
                int nameLength = in.read();
                if (nameLength < 0) {
                    return groups;
                }
                String name = new String(exactly(in, nameLength), java.nio.charset.StandardCharsets.UTF_8);
                short version = in.readShort();
                int count = in.readUnsignedShort();
                List<byte[]> samples = new ArrayList<>();
                for (int index = 0; index < count; index++) {
                    samples.add(exactly(in, in.readInt()));
                }
                groups.add(new Group(name, version, samples));
            }
        }
    }

    private static byte[] exactly(DataInputStream in, int length) throws IOException {
        byte[] bytes = in.readNBytes(length);
        if (bytes.length != length) {
            throw new EOFException("fixture file is cut short");
        }
        return bytes;
    }
}
