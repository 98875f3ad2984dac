import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Makes the calls of one parity run against one broker, in one JVM: {@code Parity BOOTSTRAP}.
 *
 * <p>Each line of the input is a request in JSON, each line of the output its answer, in order.
 * {@code {"tool": CLASS, "arguments": [...], "input": TEXT, "timeout_s": N}} runs the main class of
 * a tool and answers what it wrote and its exit status. {@code {"member": [...]}} starts or stops a
 * consumer in the background ({@link Members}), {@code {"write": [TOPIC, PARTITION, COUNT]}} writes
 * records with known times ({@link Records}). {@code {"admin": NAME}} makes one call of the
 * AdminClient ({@link AdminCalls}), and {@code {"admin_calls": true}} names them all.
 */
public final class Parity {

    static final ObjectMapper JSON = new ObjectMapper();

    static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        bootstrap = arguments[0];
        var requests = new BufferedReader(
            new InputStreamReader(System.in, StandardCharsets.UTF_8)
        );
        Tool.takeOverTheProcess();
        try (
            var members = new Members(bootstrap);
            var admin = new AdminCalls(bootstrap)
        ) {
            for (String line; (line = requests.readLine()) != null; ) {
                answers.println(answer(JSON.readTree(line), members, admin));
                answers.flush();
            }
        }
        Exit.resetHaltProcedure();
        Exit.halt(0);
    }

    static ObjectNode answer(JsonNode request, Members members, AdminCalls admin) {
        if (request.has("tool")) {
            return Tool.run(
                request.get("tool").asText(),
                texts(request.get("arguments")),
                request.path("input").asText(""),
                request.path("timeout_s").asInt(60)
            );
        }
        ObjectNode answer = JSON.createObjectNode();
        try {
            if (request.has("member")) {
                answer.put("output", members.order(texts(request.get("member"))));
            } else if (request.has("admin")) {
                answer.put("output", admin.call(request.get("admin").asText()));
            } else if (request.has("write")) {
                List<String> words = texts(request.get("write"));
                int partition = Integer.parseInt(words.get(1));
                int count = Integer.parseInt(words.get(2));
                answer.put("output", Records.write(bootstrap, words.get(0), partition, count));
            } else if (request.has("admin_calls")) {
                answer.set("calls", JSON.valueToTree(admin.names()));
            } else {
                throw new IllegalArgumentException("no such request: " + request);
            }
        } catch (Exception failure) {
            answer.put("failure", failure.toString());
        }
        return answer;
    }

    static List<String> texts(JsonNode array) {
        List<String> texts = new ArrayList<>();
        array.forEach(text -> texts.add(text.asText()));
        return texts;
    }
}
