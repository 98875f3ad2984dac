import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main class of one of Kafka's command-line tools as a process would, inside this JVM.
 *
 * <p>What a tool writes goes to a buffer of its run, and where it would end the process an {@link
 * Ended} is thrown instead, so that its own {@code finally} blocks close its clients. A tool that
 * catches that too goes on where a process would be gone: what it writes then is not taken.
 */
final class Tool {

    static final int TIMED_OUT = -1;
    /** How long a tool that was interrupted has to close its clients. */
    static final int CLOSE_TIMEOUT_S = 20;

    /** The run of the tool that runs now; one at a time. */
    static Tool current;

    final ByteArrayOutputStream output = new ByteArrayOutputStream();
    final ByteArrayOutputStream errors = new ByteArrayOutputStream();
    final ThreadGroup group = new ThreadGroup("tool") {
        @Override
        public void uncaughtException(Thread thread, Throwable thrown) {
            if (!(thrown instanceof Ended)) {
                System.err.println("Exception in thread \"" + thread.getName() + "\" " + thrown);
            }
        }
    };
    final List<Thread> hooks = new CopyOnWriteArrayList<>();
    final AtomicBoolean ending = new AtomicBoolean();
    /** What it had written when it ended, and its status; unset while it runs. */
    final AtomicReference<ObjectNode> ended = new AtomicReference<>();

    /** What ends a tool where it would have ended the process. */
    static final class Ended extends Error {

        Ended(int status) {
            super("exit " + status, null, false, false);
        }
    }

    static void takeOverTheProcess() {
        Exit.Procedure end = (status, message) -> {
            current.end(status);
            throw new Ended(status);
        };
        // Between the tools the standard output belongs to the answers.
        System.setOut(System.err);
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> current.hooks.add(new Thread(current.group, hook, name)));
    }

    static ObjectNode run(String mainClass, List<String> arguments, String input, int timeoutS) {
        current = new Tool();
        PrintStream outputBefore = System.out;
        PrintStream errorsBefore = System.err;
        InputStream inputBefore = System.in;
        System.setOut(new PrintStream(current.output, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(current.errors, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            current.waitFor(mainClass, arguments, timeoutS);
        } finally {
            System.setOut(outputBefore);
            System.setErr(errorsBefore);
            System.setIn(inputBefore);
        }
        return current.ended.get();
    }

    /** Ends the run, once: its shutdown hooks, and then nothing that it writes is taken any more. */
    void end(int status) {
        if (!ending.compareAndSet(false, true)) {
            return;
        }
        hooks.addAll(hooksOfTheProcess());
        hooks.forEach(Thread::start);
        for (Thread hook : hooks) {
            join(hook, TimeUnit.SECONDS.toMillis(CLOSE_TIMEOUT_S));
        }
        ObjectNode answer = Parity.JSON.createObjectNode();
        answer.put("stdout", output.toString(StandardCharsets.UTF_8));
        answer.put("stderr", errors.toString(StandardCharsets.UTF_8));
        answer.put("status", status);
        ended.set(answer);
    }

    /**
     * The hooks that a tool has put past {@link Exit} into the JVM itself, taken out of it:
     * VerifiableProducer tells in one what became of its records. Needs {@code --add-opens
     * java.base/java.lang=ALL-UNNAMED}.
     */
    @SuppressWarnings("unchecked")
    static Collection<Thread> hooksOfTheProcess() {
        try {
            Class<?> ofTheJvm = Class.forName("java.lang.ApplicationShutdownHooks");
            Field field = ofTheJvm.getDeclaredField("hooks");
            field.setAccessible(true);
            var registered = (Map<Thread, Thread>) field.get(null);
            List<Thread> taken = new ArrayList<>(registered.keySet());
            taken.removeIf(hook -> hook.getThreadGroup() != current.group);
            registered.keySet().removeAll(taken);
            return taken;
        } catch (ReflectiveOperationException hidden) {
            throw new IllegalStateException(hidden);
        }
    }

    static void join(Thread thread, long timeoutMs) {
        try {
            thread.join(timeoutMs);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    /** Waits as the JVM would: until the tool has ended itself or none of its threads is left. */
    void waitFor(String mainClass, List<String> arguments, int timeoutS) {
        Thread main = new Thread(group, () -> invoke(mainClass, arguments), "main");
        main.setDaemon(false);
        main.start();
        if (!ends(group, TimeUnit.SECONDS.toNanos(timeoutS))) {
            end(TIMED_OUT);
            group.interrupt();
            ends(group, TimeUnit.SECONDS.toNanos(CLOSE_TIMEOUT_S));
        }
        end(0);
    }

    /** Whether all threads of a group but the daemons end in this time. */
    static boolean ends(ThreadGroup group, long timeoutNs) {
        long deadline = System.nanoTime() + timeoutNs;
        while (true) {
            Thread[] threads = new Thread[group.activeCount() + 16];
            int count = group.enumerate(threads);
            Thread running = null;
            for (Thread thread : Arrays.copyOf(threads, count)) {
                running = thread.isDaemon() ? running : thread;
            }
            long leftMs = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
            if (running == null || leftMs <= 0) {
                return running == null;
            }
            join(running, leftMs);
        }
    }

    void invoke(String mainClass, List<String> arguments) {
        try {
            Object texts = arguments.toArray(new String[0]);
            Class.forName(mainClass).getMethod("main", String[].class).invoke(null, texts);
        } catch (InvocationTargetException thrown) {
            // As the JVM does for a main that throws: the stack itself is not to be compared.
            if (!(thrown.getCause() instanceof Ended)) {
                System.err.println("Exception in thread \"main\" " + thrown.getCause());
                end(1);
            }
        } catch (ReflectiveOperationException missing) {
            throw new IllegalStateException(missing);
        }
    }
}
