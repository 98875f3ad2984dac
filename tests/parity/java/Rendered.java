import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.KafkaFuture;

/**
 * What an AdminClient answered as lines of text that do not depend on the order of sets.
 *
 * <p>A result of a call shows each of its futures and maps by the name of its getter; a future
 * shows its value, or the class and the message of what it failed with.
 */
final class Rendered {

    static final int DEADLINE_S = 60;

    final StringBuilder lines = new StringBuilder();

    static String of(Object value) throws Exception {
        Rendered rendered = new Rendered();
        rendered.put("", "", value);
        return rendered.lines.toString();
    }

    void put(String indent, String name, Object value) throws Exception {
        String label = indent + (name.isEmpty() ? "" : name + ": ");
        String deeper = name.isEmpty() ? indent : indent + "  ";
        if (value instanceof KafkaFuture<?> future) {
            putFuture(indent, name, future);
        } else if (value instanceof Throwable thrown) {
            line(label + failure(thrown));
        } else if (value instanceof Optional<?> optional) {
            put(indent, name, optional.isPresent() ? optional.get() : "none");
        } else if (value instanceof Map<?, ?> map) {
            line(label + "map of " + map.size());
            for (var entry : sorted(map.entrySet().stream(), Map.Entry::getKey)) {
                put(indent + "  ", String.valueOf(entry.getKey()), entry.getValue());
            }
        } else if (value instanceof Collection<?> collection) {
            line(label + "collection of " + collection.size());
            Stream<?> items = collection.stream();
            for (Object item : value instanceof List ? items.toList() : sorted(items, x -> x)) {
                put(indent + "  ", "-", item);
            }
        } else if (value instanceof Config config) {
            line(label + "config");
            for (var entry : sorted(config.entries().stream(), ConfigEntry::name)) {
                line(deeper + "  " + entry);
            }
        } else if (value != null && isOpaque(value)) {
            line(label + value.getClass().getSimpleName());
            putGetters(deeper, value);
        } else {
            line(label + value);
        }
    }

    void putFuture(String indent, String name, KafkaFuture<?> future) throws Exception {
        try {
            put(indent, name, future.get(DEADLINE_S, TimeUnit.SECONDS));
        } catch (ExecutionException failed) {
            put(indent, name, failed.getCause());
        } catch (TimeoutException late) {
            put(indent, name, "no answer within " + DEADLINE_S + " s");
        }
    }

    /** All getters of an object that cannot tell what it is. */
    void putGetters(String indent, Object value) throws Exception {
        List<Method> getters = Arrays
            .stream(value.getClass().getMethods())
            .filter(method -> method.getDeclaringClass() != Object.class)
            .filter(method -> method.getParameterCount() == 0)
            .filter(method -> !Modifier.isStatic(method.getModifiers()))
            .filter(method -> !method.isAnnotationPresent(Deprecated.class))
            .sorted(Comparator.comparing(Method::getName))
            .toList();
        for (Method getter : getters) {
            getter.setAccessible(true);
            try {
                put(indent + "  ", getter.getName(), getter.invoke(value));
            } catch (InvocationTargetException refused) {
                put(indent + "  ", getter.getName(), refused.getCause());
            }
        }
    }

    static boolean isOpaque(Object value) throws NoSuchMethodException {
        Class<?> type = value.getClass();
        return type.getName().startsWith("org.apache.kafka.")
            && type.getMethod("toString").getDeclaringClass() == Object.class;
    }

    static <T> List<T> sorted(Stream<T> items, java.util.function.Function<T, Object> key) {
        return items.sorted(Comparator.comparing(item -> String.valueOf(key.apply(item)))).toList();
    }

    static String failure(Throwable thrown) {
        return thrown.getClass().getSimpleName() + " \"" + thrown.getMessage() + '"';
    }

    void line(String text) {
        lines.append(text).append('\n');
    }
}
