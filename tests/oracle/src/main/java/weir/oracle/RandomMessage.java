package weir.oracle;

import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.BaseRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.utils.ImplicitLinkedHashCollection;

/**
 * Fills a message of Kafka's own classes with seeded random values.
 *
 * The schema of the wanted version says which fields exist in it; all others keep their defaults,
 * as they must. The class's fields are set directly, so every value that can be on the wire can be
 * made.
 */
final class RandomMessage {
    /** How the values of one sample are chosen. */
    enum Style {
        /** Every field keeps its default. */
        DEFAULT,
        /** Every field, tagged ones too, differs from its default; nothing is null or empty. */
        FULL,
        /** Nulls, empty values, defaults and extremes mixed. */
        MIXED
    }

    private static final String[] TEXTS = {
        "a", "orders", "größe", "日本語", "🦀 emoji", "with space", "x".repeat(63),
        "y".repeat(130), "\u0000", "-"
    };

    private final Random random;
    private final Style style;

    RandomMessage(long seed, Style style) {
        this.random = new Random(seed);
        this.style = style;
    }

    Object make(Class<?> type, Schema schema) throws ReflectiveOperationException {
        return make(type, schema, 0);
    }

    private Object make(Class<?> type, Schema schema, int depth)
            throws ReflectiveOperationException {
        Object message = type.getDeclaredConstructor().newInstance();
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                for (var field : tagged.fields().values()) {
                    set(message, field.name, field.type, depth);
                }
            } else {
                set(message, bound.def.name, bound.def.type, depth);
            }
        }
        return message;
    }

    private void set(Object message, String name, Type type, int depth)
            throws ReflectiveOperationException {
        Field field = fieldNamed(message.getClass(), name);
        Object before = field.get(message);
        boolean nullable = mayBeNull(message, field, type, before);
        boolean mustSet = before == null && !nullable;
        boolean leave = style == Style.DEFAULT || style == Style.MIXED && random.nextInt(6) == 0;
        if (leave && !mustSet) {
            return;
        }
        if (style == Style.MIXED && nullable && random.nextInt(4) == 0) {
            field.set(message, null);
            return;
        }
        Object value = value(field.getGenericType(), type, depth);
        while (style == Style.FULL && value.equals(before)) {
            value = value(field.getGenericType(), type, depth);
        }
        field.set(message, value);
    }

    private static boolean mayBeNull(Object message, Field field, Type type, Object initial) {
        if (type instanceof Schema) {
            // Schemas do not say which structs may be null. Those that may all start as null.
            return initial == null;
        }
        if (field.getType() == BaseRecords.class
                && message instanceof ShareFetchResponseData.PartitionData) {
            // Schemas call every record set nullable, and all start as null, but the class cannot
            // write this one so.
            return false;
        }
        return type.isNullable();
    }

    private Object value(java.lang.reflect.Type javaType, Type type, int depth)
            throws ReflectiveOperationException {
        if (type instanceof Schema schema) {
            return make((Class<?>) javaType, schema, depth + 1);
        }
        if (type.isArray()) {
            return collection(javaType, type.arrayElementType().orElseThrow(), depth);
        }
        Class<?> raw = (Class<?>) javaType;
        if (raw == boolean.class) {
            return random.nextBoolean();
        } else if (raw == byte.class || raw == Byte.class) {
            return (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
        } else if (raw == short.class || raw == Short.class) {
            return (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
        } else if (raw == int.class && type == Type.UINT16) {
            return (int) number(0, 65_535);
        } else if (raw == int.class || raw == Integer.class) {
            return (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
        } else if (raw == long.class || raw == Long.class) {
            return number(Long.MIN_VALUE, Long.MAX_VALUE);
        } else if (raw == double.class) {
            return random.nextGaussian() * 1e6;
        } else if (raw == String.class) {
            return empty() ? "" : TEXTS[random.nextInt(TEXTS.length)];
        } else if (raw == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        } else if (raw == byte[].class) {
            return bytes();
        } else if (raw == ByteBuffer.class) {
            return ByteBuffer.wrap(bytes());
        } else if (raw == BaseRecords.class) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
        }
        throw new IllegalStateException("no values for " + javaType);
    }

    private Object collection(java.lang.reflect.Type javaType, Type elementType, int depth)
            throws ReflectiveOperationException {
        int count = depth < 2 ? 2 : 1;
        if (style == Style.MIXED) {
            count = random.nextInt(depth < 2 ? 4 : 3);
        }
        if (javaType instanceof ParameterizedType list) {
            List<Object> elements = new ArrayList<>();
            for (int index = 0; index < count; index++) {
                elements.add(value(list.getActualTypeArguments()[0], elementType, depth + 1));
            }
            return elements;
        }
        // A keyed collection: a class that extends ImplicitLinkedHashMultiCollection<Element>.
        Class<?> collectionClass = (Class<?>) javaType;
        var parent = (ParameterizedType) collectionClass.getGenericSuperclass();
        var elementClass = (Class<?>) parent.getActualTypeArguments()[0];
        Object collection = collectionClass.getDeclaredConstructor().newInstance();
        for (int index = 0; index < count; index++) {
            Object element = make(elementClass, (Schema) elementType, depth + 1);
            add((ImplicitLinkedHashCollection<?>) collection, element);
        }
        return collection;
    }

    @SuppressWarnings("unchecked")
    private static void add(Collection<?> collection, Object element) {
        ((Collection<Object>) collection).add(element);
    }

    private long number(long min, long max) {
        return switch (random.nextInt(8)) {
            case 0 -> min;
            case 1 -> max;
            case 2 -> Math.max(min, -1);
            case 3 -> 1;
            case 4 -> 100;
            default -> {
                long bits = random.nextLong() >>> random.nextInt(64);
                yield min < 0 ? Math.max(min, Math.min(max, bits)) : Math.floorMod(bits, max + 1);
            }
        };
    }

    private byte[] bytes() {
        int length = 1 + random.nextInt(random.nextInt(10) == 0 ? 700 : 20);
        byte[] bytes = new byte[empty() ? 0 : length];
        random.nextBytes(bytes);
        return bytes;
    }

    private boolean empty() {
        return style == Style.DEFAULT || style == Style.MIXED && random.nextInt(6) == 0;
    }

    /** Schemas spell names in snake case, classes in camel case. */
    private static Field fieldNamed(Class<?> type, String name) {
        String wanted = name.replace("_", "");
        for (Field field : type.getDeclaredFields()) {
            if (field.getName().equalsIgnoreCase(wanted)) {
                field.setAccessible(true);
                return field;
            }
        }
        throw new IllegalStateException(type + " has no field for " + name);
    }
}
