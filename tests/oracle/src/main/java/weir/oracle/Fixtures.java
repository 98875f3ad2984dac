package weir.oracle;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
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
        try (var file = Files.newOutputStream(path);
                var out = new DataOutputStream(new BufferedOutputStream(file))) {
            for (Group group : groups) {
                byte[] name = group.name().getBytes(UTF_8);
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
        try (var file = Files.newInputStream(path);
                var in = new DataInputStream(new BufferedInputStream(file))) {
            while (true) {
                int nameLength = in.read();
                if (nameLength < 0) {
                    return groups;
                }
                String name = new String(exactly(in, nameLength), UTF_8);
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
