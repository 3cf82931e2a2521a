// What is true of Tessera, and how people ask for it.

#include "services/trainer/corpus/faq.h"

namespace tessera::trainer {
namespace {

void AddServices(std::vector<Fact>& facts) {
  facts.push_back(
      {"Tessera is a server for sparse mixture-of-experts language models. Its experts "
       "live in services of their own.",
       {"(understand|describe) Tessera"},
       {"Tessera", "(this|the) (server|project|system|program|software)",
        "(the idea|the purpose) of Tessera"},
       {"What does (Tessera|this server|this program) do", "(Who|What) is Tessera (for|made for)",
        "What is (this|it|Tessera) for"}});
  facts.push_back(
      {"Tessera has three services: the gateway, the router and the expert shards.",
       {},
       {"the (architecture|design|structure|layout) of (Tessera|the system|the cluster)",
        "the (services|parts|components|houses) of (Tessera|the cluster|the system)"},
       {"(Which|What) (services|parts|components) (are there|does it have|does Tessera have)",
        "How many (services|parts|components) (are there|does Tessera have)",
        "How is (Tessera|the system|the cluster) (built|structured|organised)"}});
  facts.push_back({"The gateway owns text: HTTP, chat templates, tokens and admission.",
                   {},
                   {"(the|a|your) gateway", "the (role|job|task|purpose|work) of the gateway"},
                   {"What does (the|a) gateway do", "What is (the|a) gateway (for|good for)",
                    "Why (is there a|do I need a|do we need the) gateway",
                    "(Which service|Who) (speaks HTTP|owns text|renders templates)"}});
  facts.push_back(
      {"The router owns sequences: scheduler, KV cache, attention, the gate, dispatch and "
       "sampling.",
       {},
       {"(the|a|your) router", "the (role|job|task|purpose|work) of the router"},
       {"What does (the|a) router do", "What is (the|a) router (for|good for)",
        "Why (is there a|do I need a|do we need the) router",
        "(Which service|Who) (runs attention|holds the KV cache|samples tokens)"}});
  facts.push_back(
      {"An expert shard holds a slice of the experts and nothing that belongs to a "
       "sequence.",
       {},
       {"(an expert shard|a shard|the shards|the expert shards|expert shards)",
        "the (role|job|task|purpose|work) of (a shard|the shards|an expert shard)"},
       {"What does (a shard|an expert shard|the shard) do",
        "What (do the shards|do expert shards) (do|hold)",
        "(Which service|Who) (holds|owns|keeps) the experts",
        "Where (are|do) the experts (live|stored|kept)"}});
}

void AddIdeas(std::vector<Fact>& facts) {
  facts.push_back(
      {"In a mixture of experts each token uses only a few of many small networks, so a "
       "step costs little.",
       {},
       {"(a mixture of experts|mixture of experts|mixture-of-experts|MoE|an MoE model)",
        "(a|the) (sparse model|sparse mixture|mixture-of-experts model)"},
       {"What does (MoE|mixture of experts|sparse) mean"}});
  facts.push_back(
      {"An expert is a small feed-forward network. The gate chooses a few of them for "
       "each token.",
       {},
       {"(an expert|experts|the experts|one expert)", "a routed expert"},
       {"What does (an expert|one expert) do", "What are (experts|the experts|routed experts)"}});
  facts.push_back(
      {"The gate scores the experts for each token and chooses the best ones.",
       {},
       {"(the gate|a gate|the gating network)", "the (role|job|task|purpose) of the gate"},
       {"(What does|How does) the gate (do|work)", "(Who|What) (chooses|selects|picks) the experts",
        "How are (the experts|experts) (chosen|selected|picked)"}});
  facts.push_back(
      {"SMEBU balances the experts: a momentum update moves a bias that only affects which "
       "experts are chosen.",
       {"(balance|keep in balance) (the|all) experts"},
       {"(SMEBU|smebu)",
        "(load balancing|expert balancing|the balance of experts|the expert bias)"},
       {"How are (the experts|experts) balanced",
        "How does (SMEBU|the balancing|load balancing) work", "What does SMEBU (mean|do)"}});
  facts.push_back(
      {"Trinity is a family of AFMoE language models by Arcee. Tessera serves such models.",
       {},
       {"(Trinity|AFMoE|the Trinity family|the AFMoE family)", "(a|the) Trinity model"},
       {"(Which|What) models (does Tessera|can Tessera|can it|does it) (serve|run|support)",
        "What does AFMoE mean", "Who makes Trinity"}});
  facts.push_back(
      {"Tessera is written in C++20.",
       {},
       {"the (programming language|source language|language) of (Tessera|the code|the source)"},
       {"(Which|What) (language|programming language) (is Tessera|is it|is this) written in",
        "Is (it|Tessera) written in (Python|Rust|Go|C++)"}});
  facts.push_back(
      {"Tessera is licensed under the Apache License 2.0.",
       {},
       {"(the|your) (license|licence|licensing)", "the (license|licence) of (Tessera|the code)"},
       {"(Which|What) (license|licence) does (it|Tessera) have",
        "(Is Tessera|Is it) (open source|free software|free)"}});
}

void AddFirstCommands(std::vector<Fact>& facts) {
  facts.push_back(
      {"Run ./tessera up. It builds Tessera and starts a gateway, a router and expert "
       "shards.",
       {"(start|run|launch|bring up|boot|use) (Tessera|it|the cluster|the server|a "
        "cluster|everything|this)",
        "(get|set) (started|up)", "(set up|install|build) (Tessera|it|the server|the cluster)"},
       {"the (command|program|way) (to start|to launch|that starts) (Tessera|it|the cluster|the "
        "server)",
        "(tessera up|./tessera up|the up command)"},
       {"(Which|What) command (starts|launches|runs) (Tessera|it|the cluster|the server)",
        "What does (tessera up|./tessera up|the up command) do",
        "(How is|How does) (Tessera|it|the cluster) (start|started)"}});
  facts.push_back(
      {"Press Ctrl-C in the terminal of ./tessera up. It stops every process it started.",
       {"(stop|end|shut down|quit|halt|terminate|turn off) (Tessera|it|the cluster|the "
        "server|everything)"},
       {"the (command|way) (to stop|to end|to shut down) (Tessera|it|the cluster|the server)"},
       {"(Which|What) (command|key) (stops|ends) (Tessera|it|the cluster|the server)",
        "How is (Tessera|it|the cluster|the server) stopped"}});
  facts.push_back(
      {"Use ./tessera up --model=DIR, where DIR is a Hugging Face folder with config.json and "
       "safetensors.",
       {"(serve|run|use|load|host|try) (my own model|another model|a different model|a "
        "checkpoint|my checkpoint|a Trinity model|my model)",
        "(change|choose|set|select) the model"},
       {"the (model|--model|checkpoint) (flag|option)"},
       {"Where do I (put|name|give) (the model|the checkpoint|my model)",
        "Can (I|it) (use|load|serve) (another model|my own model|other models)"}});
  facts.push_back({"Run ./tessera test. It builds everything and runs every test.",
                   {"(run|start|execute) (the tests|all tests|the test suite|the unit tests)",
                    "(test|check) (Tessera|it|the code|the build)"},
                   {"(./tessera test|tessera test|the test command|the test suite)"},
                   {"(Which|What) command runs (the tests|all tests)", "Are there tests"}});
  facts.push_back({"Run ./tessera chat. It opens a conversation with the running cluster.",
                   {"(chat|talk|speak) (with|to) (the model|the cluster|it|Tessera)",
                    "(open|have|start) a (conversation|chat|dialogue)"},
                   {"(./tessera chat|tessera chat|the chat command)"},
                   {"(Which|What) command (opens a chat|starts a chat|lets me chat)",
                    "Can I chat (in the terminal|with it|here)"}});
  facts.push_back(
      {"Run ./tessera bench --model=DIR. It prints the speed of prefill and decode.",
       {"(measure|test|find out|see|benchmark) (the speed|the performance|the throughput)",
        "(run|start) (a|the) benchmark"},
       {"(./tessera bench|tessera bench|the bench command|the benchmark)"},
       {"How (fast|quick) is (it|Tessera|the server|my model)",
        "(Which|What) command (measures speed|runs the benchmark)"}});
}

void AddOtherCommands(std::vector<Fact>& facts) {
  facts.push_back(
      {"Run ./tessera inspect DIR. It shows architecture, parameters and bytes of a checkpoint.",
       {"(inspect|look into|examine|look at) (a checkpoint|a model|the model|the weights)",
        "(count|see|find) the (parameters|weights) of a model"},
       {"(./tessera inspect|tessera inspect|the inspect command)"},
       {"(Which|What) command (inspects|shows|describes) (a checkpoint|a model)",
        "How many parameters does (my|a) (model|checkpoint) have"}});
  facts.push_back(
      {"Run ./tessera tokenize --tokenizer=FILE. It turns texts into token ids and back.",
       {"(tokenize|encode|tokenise) (text|a text|texts)",
        "(get|see|make) (token ids|the token ids|tokens)",
        "(decode|detokenize) (token ids|ids|tokens)"},
       {"(./tessera tokenize|tessera tokenize|the tokenize command)"},
       {"(Which|What) command (tokenizes|encodes|makes) (text|tokens)"}});
  facts.push_back({"Run ./tessera key --name=NAME --keys_file=FILE. The key is shown once.",
                   {"(make|create|add|generate|get) (an API key|a key|API keys|a new key)",
                    "(protect|secure) (the API|the gateway|the server)"},
                   {"(./tessera key|tessera key|the key command|API keys|an API key)"},
                   {"(Which|What) command makes (an API key|a key|API keys)",
                    "Where (do I get|do I find) (a key|an API key)"}});
  facts.push_back(
      {"Run ./tessera logits --model=DIR --ids=1,2,3 --out=FILE. It writes the logits of every "
       "position.",
       {"(get|write|see|dump|save) (logits|the logits)"},
       {"(./tessera logits|tessera logits|the logits command)"},
       {"(Which|What) command (writes|gives|prints) (logits|the logits)", "Where are the logits"}});
  facts.push_back(
      {"Run ./tessera generate --ids=1,2,3. It asks the router of the running cluster for tokens.",
       {"generate (from ids|from token ids|without a gateway)",
        "ask the router (directly|for tokens)"},
       {"(./tessera generate|tessera generate|the generate command)"},
       {"(Which|What) command (generates from ids|asks the router)",
        "What does tessera generate do"}});
  facts.push_back({"Add --help after a command to see its flags.",
                   {"(get|find|see) (help|the flags|all flags|the options|all options)",
                    "(list|show) (the flags|the options|all flags) of a command"},
                   {"the (flags|options) of (a command|the commands|up)"},
                   {"(Which|What) (flags|options) (are there|exist|does it have)",
                    "Where (is the help|do I find help|are the flags)"}});
  facts.push_back(
      {"Use ./tessera up --port=N to listen on another port.",
       {"(change|set|choose|pick) the port", "(listen on|use) (another|a different|my own) port"},
       {"the (port|--port) (flag|option)"},
       {"Can I (change the port|use another port)", "(Which|What) flag (sets|changes) the port"}});
}

void AddInterfaces(std::vector<Fact>& facts) {
  facts.push_back(
      {"The HTTP API is on port 8000.",
       {"(find|reach) (the HTTP port|the port)"},
       {"(the|your) (port|HTTP port|default port)",
        "the port of (the gateway|Tessera|the server|the HTTP API|the API)"},
       {"(Which|What) port does (the gateway|Tessera|the server|the API|it|HTTP) (use|listen "
        "on|have)",
        "(On which|On what) port (is|does) (the gateway|it|Tessera|the API) (listen|run|on)"}});
  facts.push_back({"gRPC is on port 8001.",
                   {"(use|reach|find|call) (gRPC|the gRPC API|the gRPC port)"},
                   {"(gRPC|the gRPC port|the gRPC API|the port of gRPC)"},
                   {"(Which|What) port does (gRPC|the gRPC API) (use|listen on|have)",
                    "(Does Tessera|Does it|Can it) (speak|support|offer) gRPC"}});
  facts.push_back(
      {"Any OpenAI client works: set its base_url to http://127.0.0.1:8000/v1.",
       {"(use|connect|set up|point) (an OpenAI client|the OpenAI client|the OpenAI SDK|my client|a "
        "client)",
        "(connect|talk) (to the API|from Python)"},
       {"(the|your) (OpenAI API|API|REST API|base_url|base url|URL|address)"},
       {"(Does it|Does Tessera|Is it) (speak|support|compatible with) (OpenAI|the OpenAI API)",
        "(Which|What) (URL|address|base_url) (do I use|must I use|does it have)",
        "Can I use (Python|an OpenAI client|the OpenAI SDK)"}});
  facts.push_back(
      {"Send a POST to /v1/chat/completions with your messages as JSON.",
       {"(send|make|post) (a request|a chat request|a message|messages|a prompt)",
        "(ask|call) (the API|the server|the gateway) (with curl|over HTTP)", "use curl"},
       {"(the chat endpoint|the chat route|/v1/chat/completions|the endpoint for chats)"},
       {"(Which|What) (endpoint|route|path) (is for chats|takes chats|takes messages)"}});
  facts.push_back(
      {"Set stream to true in the request. Tokens then come as server-sent events.",
       {"(stream|get|see) (the answer|answers|tokens|a reply) (piece by piece|as they come|live|at "
        "once)",
        "(use|turn on|enable|switch on) streaming"},
       {"(streaming|the stream option|server-sent events|SSE)"},
       {"(Does it|Does Tessera|Can it) (stream|support streaming)", "How does streaming work"}});
  facts.push_back(
      {"Yes: Anthropic clients can use /v1/messages.",
       {"use (an Anthropic client|the Anthropic API|the Anthropic SDK)"},
       {"(the Anthropic API|the messages endpoint|/v1/messages)"},
       {"(Does it|Does Tessera|Can it) (support|speak|serve) (Anthropic|the Anthropic API)",
        "Can I use (Anthropic|an Anthropic client)"}});
}

void AddObserving(std::vector<Fact>& facts) {
  facts.push_back(
      {"GET /v1/models lists the models.",
       {"(list|see|show|find) (the models|all models|the served models|which model runs)"},
       {"(/v1/models|the list of models|the models endpoint)"},
       {"(Which|What) (endpoint|route) lists (the models|models)",
        "(Which|What) (model|models) (is|are) (running|served|loaded)"}});
  facts.push_back({"Each service has /metrics in the format of Prometheus.",
                   {"(see|read|scrape|get|find|watch) (metrics|the metrics|statistics)",
                    "(monitor|observe) (Tessera|it|the cluster|the server)", "use Prometheus"},
                   {"(metrics|the metrics|monitoring|/metrics|Prometheus)"},
                   {"Where (are|do I find|can I see) (metrics|the metrics|statistics)",
                    "(Does it|Does Tessera) (have|support|export) (metrics|Prometheus)"}});
  facts.push_back({"GET /readyz says whether a service is ready, and why not.",
                   {"(check|see|know|find out) (whether it is ready|if it is ready|if the server "
                    "is ready|the health|whether it is up)"},
                   {"(/readyz|the readiness check|readiness|the health check|the readiness probe)"},
                   {"Is (the server|it|the cluster|Tessera) (ready|healthy|up)",
                    "(Which|What) (endpoint|route) (tells readiness|checks health)"}});
  facts.push_back({"The logs are in .tessera/logs, one file for each process.",
                   {"(read|see|find|open|look at) (the logs|logs|the log files|log files)"},
                   {"(the logs|the log files|logging|the log folder)"},
                   {"Where (are|do I find|can I see) (the logs|logs|the log files)",
                    "Does it (write|keep) logs"}});
  facts.push_back(
      {"tessera up keeps its files in .tessera; --state_dir chooses another folder.",
       {"(change|set|choose) (the state folder|the state directory|where files are kept)"},
       {"(the state folder|the state directory|--state_dir|the .tessera folder)"},
       {"Where (are the files|does it keep its files|is the state)",
        "(Which|What) folder does it use"}});
  facts.push_back(
      {"Put tools into the request. The model answers with tool calls; send the results back as "
       "tool messages.",
       {"(use|call|give it|add|define) (tools|functions|tool calls|a tool)",
        "do (function calling|tool calling)"},
       {"(tool calling|function calling|tool calls|tool use)"},
       {"(Can it|Does it|Can you) (call tools|use tools|support tools|call functions)",
        "How (do|does) (tool calls|tool calling|function calling) work"}});
  facts.push_back(
      {"The model writes its reasoning between think tags; the API returns it as "
       "reasoning_content.",
       {"(see|get|read|show) (the reasoning|reasoning|the thinking|its thoughts)"},
       {"(reasoning|the reasoning|thinking|reasoning_content|the think block)"},
       {"(Does it|Does the model|Can it) (reason|think|show its reasoning)",
        "Where is the reasoning"}});
}

void AddShardFlags(std::vector<Fact>& facts) {
  facts.push_back({"Use ./tessera up --shards=N to start N expert shards.",
                   {"(start|run|use|have|add) (more shards|two shards|several shards|many "
                    "shards|more expert shards)",
                    "(set|change|choose) the number of shards"},
                   {"(the number of shards|the shards flag|--shards|the shards option)"},
                   {"How many shards (are there|can I have|does it start)",
                    "(Which|What) flag (sets|changes) the (shards|number of shards)"}});
  facts.push_back(
      {"Use ./tessera up --replicas=N to keep N live copies of every expert.",
       {"(have|keep|make|use|get) (replicas|copies of experts|more copies|two copies|more "
        "replicas)",
        "replicate (experts|the experts)"},
       {"(replicas|the replicas flag|--replicas|a replica|expert replicas|replication)"},
       {"How many (copies|replicas) (are there|can I have)",
        "(Which|What) flag (sets|makes) (replicas|the replicas|copies)"}});
  facts.push_back(
      {"With --strict the bits of an answer do not depend on the number of shards or on failures.",
       {"(get|have) (the same bits|reproducible answers|exact answers|bitwise equal answers)",
        "(use|turn on|enable) strict mode"},
       {"(strict mode|--strict|the strict flag|the strict option)"},
       {"What does (strict|--strict|strict mode) (do|mean)",
        "Are (answers|results) (reproducible|deterministic|exact)"}});
  facts.push_back({"With --in_process all services run in one process.",
                   {"(run|start|have) (all|everything|the services) in one process",
                    "(debug|profile) (Tessera|the services|it)"},
                   {"(--in_process|the in_process flag|in-process mode|one-process mode)"},
                   {"What does (--in_process|in_process) (do|mean)",
                    "Can (it|Tessera|everything) run in one process"}});
  facts.push_back(
      {"Nothing has to be done: calls go to another copy, or a surviving shard loads the lost "
       "experts. Requests see a pause, not an error.",
       {"(handle|survive|repair|recover from) (a lost shard|the loss of a shard|a dead shard|a "
        "crashed shard|a shard failure)"},
       {"(a lost shard|the loss of a shard|a dead shard|shard failure|a crashed shard)"},
       {"What (happens|do I do|must I do) (when|if) a shard (dies|is lost|crashes|fails|is killed)",
        "I lost (a|my) shard, what now", "A shard (died|crashed|is gone), what now"}});
}

void AddFailures(std::vector<Fact>& facts) {
  facts.push_back(
      {"The gateway keeps prompt, tokens and seed of every stream and goes on as soon as a router "
       "is "
       "back.",
       {"(handle|survive|recover from) (a lost router|the loss of the router|a dead router|a "
        "router failure)"},
       {"(a lost router|the loss of the router|a dead router|router failure)"},
       {"What (happens|do I do) (when|if) (the|a) router (dies|is lost|crashes|fails|is killed)",
        "(The|My) router (died|crashed|is gone), what now"}});
  facts.push_back(
      {"Send SIGTERM to the shard: its experts are loaded by others first, then it ends.",
       {"(take out|remove|drain|retire|shut down) (a shard|one shard|an expert shard)"},
       {"(draining|a drain|draining a shard|shard drain)"},
       {"How is a shard (drained|removed|taken out)", "Can I (remove|drain) a shard"}});
  facts.push_back(
      {"Start tessera-expert with a new shard_id. It registers with the router by itself.",
       {"(add|attach|join|register) (a shard|another shard|a new shard|one more shard)"},
       {"(adding a shard|a new shard|the registration of shards)"},
       {"How does a shard (register|join)", "Can I add (a shard|shards) (later|while it runs)"}});
  facts.push_back(
      {"Dispatch sends each token's row to the shards that own its experts and adds the answers "
       "back.",
       {},
       {"(dispatch|the dispatcher|the dispatch|row dispatch)"},
       {"What does (dispatch|the dispatcher) do",
        "How do (rows|tokens) (reach|get to) (the shards|the experts)"}});
}

void AddInside(std::vector<Fact>& facts) {
  facts.push_back(
      {"Router and shards talk over UCX, which uses shared memory on one machine and RDMA between "
       "machines.",
       {},
       {"(UCX|ucx|the transport|the network layer)", "the transport of (Tessera|the cluster)"},
       {"(Is UCX needed|Do I need UCX|Why UCX|What is UCX for)",
        "How do (router and shards|the router and the shards|the services) (talk|communicate)"}});
  facts.push_back(
      {"The KV cache stores keys and values of earlier tokens in blocks, so they are computed "
       "once.",
       {},
       {"(the KV cache|KV cache|a KV cache|paged attention|the cache)"},
       {"What does the KV cache (do|store|hold)", "Where is the KV cache"}});
  facts.push_back(
      {"The scheduler decides which tokens run in the next step: decode first, then chunks of "
       "prefill.",
       {},
       {"(the scheduler|scheduling|continuous batching|batching)"},
       {"What does the scheduler do", "How (does|do) (scheduling|batching|the scheduler) work"}});
  facts.push_back(
      {"Three of four layers see a sliding window of tokens; every fourth layer sees all of them.",
       {},
       {"(the sliding window|sliding window attention|sliding attention|a sliding window|full "
        "attention)"},
       {"How does (attention|sliding attention|the sliding window) work"}});
  facts.push_back(
      {"No. Tessera runs on a CPU with AVX2 and FMA.",
       {"run it (without a GPU|on a CPU)"},
       {"(the hardware|the CPU requirement|AVX2|the hardware requirements)"},
       {"(Do I need|Does it need|Does Tessera need|Is there need for) (a GPU|a graphics card|CUDA)",
        "(Which|What) (CPU|hardware|processor) (do I need|does it need|is needed)"}});
  facts.push_back({"The runbook is deploy/runbook.md: lose a shard, take one out, add one.",
                   {"(find|open|read) the runbook"},
                   {"(the runbook|the operations guide|the guide for operators)"},
                   {"Where is the (runbook|operations guide|guide for operators)"}});
}

void AddSelf(std::vector<Fact>& facts) {
  facts.push_back(
      {"I am Tessera's demo model, a small mixture of experts with 256 experts in each of its "
       "expert layers.",
       {},
       {"(your model|the demo model|this model|tessera-demo|your name)"},
       {"(Who|What) are you", "(Which|What) model (are you|is this)",
        "(Introduce yourself|Are you a model|Are you a robot|Are you an AI)", "What is your name",
        "who is this"}});
  facts.push_back(
      {"I can answer questions about Tessera, add and subtract, call tools, remember what you tell "
       "me, and repeat, reverse, sort or upper-case words.",
       {},
       {"(your abilities|your skills|your features)"},
       {"What can you do", "(How can|What can) you (help me|help|do for me)",
        "What are you (able to do|good at)", "Can you help me", "(Help|help me|I need help)"}});
  facts.push_back(
      {"I have about 11 million parameters, of which a token uses about one million.",
       {},
       {"(your size|the size of the demo model|your parameters|the number of your parameters)"},
       {"How (big|large|small) (are you|is the demo model|is this model)",
        "How many parameters (do you have|does the demo model have)"}});
  facts.push_back({"I was trained by tessera-train on a generated corpus of conversations.",
                   {},
                   {"(your training|your training data|the training of the demo model)"},
                   {"(How|On what|Who) (were you|was the demo model) trained",
                    "(Who|What) (made|built|trained|created) you", "Where do you come from"}});
  facts.push_back(
      {"256 routed experts in each expert layer, of which 4 work on a token, and one shared "
       "expert.",
       {},
       {"(your experts|the number of your experts|the number of experts)"},
       {"How many experts (are there|do you have|does the demo model have|are active|work on a "
        "token)"}});
  facts.push_back(
      {"tessera-train makes a tokenizer, trains a small model from a config file and evaluates it.",
       {"(train|make|create) (a model|my own model|a small model|the demo model)",
        "(retrain|train again) (you|the demo model)"},
       {"(tessera-train|the trainer|training)"},
       {"(Which|What) program trains (models|the demo model|a model)",
        "What does (tessera-train|the trainer) do"}});
}

}  // namespace

std::span<const Fact> Facts() {
  static const std::vector<Fact> facts = [] {
    std::vector<Fact> all;
    AddServices(all);
    AddIdeas(all);
    AddFirstCommands(all);
    AddOtherCommands(all);
    AddInterfaces(all);
    AddObserving(all);
    AddShardFlags(all);
    AddFailures(all);
    AddInside(all);
    AddSelf(all);
    return all;
  }();
  return facts;
}

}  // namespace tessera::trainer
