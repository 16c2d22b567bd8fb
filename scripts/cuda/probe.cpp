// Loads a model without allocating, with llama.cpp's own options, and prints the bytes of every buffer type as JSON:
//   {"buffers": [{"name", "device", "host", "model", "context", "compute"}, …], "n_ctx", …, "log": "…"}
// With a draft model (-md), "draft" has the buffers of its context beside the model's, as llama-server makes it.
// AS_SERVER=1: what llama-server sets beside its options (server.cpp: four slots over one cache; server-context.cpp: as
// many rows of logits as slots).
// KEPT=2,5,8: inputs of these layers kept for a draft, and all reserved again ("all": as scripts/cpu/probe.cpp says).
// DECODE=1: really allocates, then decodes one batch of n_ubatch tokens and one of a single token; kernels are empty, pools
// grow as they would. What grew is traced by the runtime, behind the line `TRACE decode`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#define private public
#include "../src/llama-context.h"
#undef private
#include "../cpu/keep_inputs.h"
#include "../src/llama-ext.h"
#include "arg.h"
#include "common.h"
#include "ggml-backend.h"
#include "llama.h"
#include "log.h"
#include "speculative.h"

static std::string said;

static void print_text(const std::string & text) {
    putchar('"');
    for (const unsigned char c : text) {
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c > 0x7e) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

// no destructors: they would hand back what was never allocated
[[noreturn]] static void leave(int code) {
    printf(", \"log\": ");
    print_text(said);
    puts("}");
    fflush(stdout);
    _Exit(code);
}

[[noreturn]] static void refuse(const char * stage) {
    printf("{\"error\": ");
    print_text(stage);
    leave(3);
}

// a member or function that a build lacks is left out (C++20 `requires`)
template <class P> static void as_server(P & params) {
    if (params.n_parallel < 0) {
        params.n_parallel = 4;
        params.kv_unified = true;
    }
    if constexpr (requires { params.n_outputs_max; }) {
        params.n_outputs_max = std::max(1, std::min(params.n_batch, params.n_parallel));
    }
}

template <class P> static void plain_load(P & params) {
    params.no_alloc = true;
    if constexpr (requires { params.load_mode; }) {
        params.load_mode = static_cast<decltype(params.load_mode)>(0);  // LLAMA_LOAD_MODE_NONE
    } else {
        params.use_mmap = false;
    }
}

static void decode(llama_context * context) {
    fputs("TRACE decode\n", stderr);
    const int most = std::min<uint32_t>(llama_n_ctx(context) - 1, llama_n_ubatch(context));
    for (const int n : {most, 1}) {
        std::vector<llama_token> tokens(n, 1);
        const int code = llama_decode(context, llama_batch_get_one(tokens.data(), n));
        llama_synchronize(context);
        fprintf(stderr, "TRACE decoded %d %d\n", n, code);
    }
}

static void print_buffers(llama_context * context) {
    putchar('[');
    const char * comma = "";
    for (const auto & [type, size] : llama_get_memory_breakdown(context)) {
        ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
        printf("%s{\"name\": ", comma);
        print_text(ggml_backend_buft_name(type));
        printf(", \"device\": ");
        print_text(device ? ggml_backend_dev_name(device) : "");
        printf(", \"host\": %s, \"model\": %zu, \"context\": %zu, \"compute\": %zu}",
               ggml_backend_buft_is_host(type) ? "true" : "false", size.model, size.context, size.compute);
        comma = ", ";
    }
    putchar(']');
}

// common_speculative_init_result, but for models of which nothing is allocated
template <class P, class C> static llama_context * draft_beside(const P & params, C context_params, llama_context * target) {
    if constexpr (requires { common_base_params_to_speculative(params); context_params.ctx_other; }) {
        common_params own = common_base_params_to_speculative(params);
        llama_model_params model_params = common_model_params_to_llama(own);
        plain_load(model_params);
        context_params = common_context_params_to_llama(own);
        const auto & types = params.speculative.types;
        if (std::find(types.begin(), types.end(), COMMON_SPECULATIVE_TYPE_DRAFT_MTP) != types.end()) {
            context_params.ctx_type = LLAMA_CONTEXT_TYPE_MTP;
        }
        context_params.n_ctx = llama_n_ctx(target);
        context_params.n_rs_seq = 0;
        context_params.ctx_other = target;
        llama_model * model = llama_model_load_from_file(own.model.path.c_str(), model_params);
        llama_context * context = model ? llama_init_from_model(model, context_params) : nullptr;
        if (context) {
            return context;
        }
    }
    refuse("the draft");
}

template <class P> static bool has_draft(const P & params) {
    if constexpr (requires { params.speculative.has_dft(); }) {
        return params.speculative.has_dft();
    }
    return false;
}

int main(int argc, char ** argv) {
    const bool server = getenv("AS_SERVER") != nullptr;
    common_params params;
    common_init();
    if (!common_params_parse(argc, argv, params, server ? LLAMA_EXAMPLE_SERVER : LLAMA_EXAMPLE_FIT_PARAMS)) {
        return 2;
    }
    if (server) {
        as_server(params);
    }
    llama_backend_init();
    common_log_pause(common_log_main());
    llama_log_set([](ggml_log_level, const char * text, void *) { said += text; }, nullptr);

    llama_model_params model_params = common_model_params_to_llama(params);
    if (!getenv("DECODE")) {
        plain_load(model_params);
    }
    llama_model * model = llama_model_load_from_file(params.model.path.c_str(), model_params);
    if (!model) {
        refuse("the model");
    }
    llama_context * context = llama_init_from_model(model, common_context_params_to_llama(params));
    if (!context) {
        refuse("the context");
    }

    if (getenv("DECODE")) {
        decode(context);
    }
    if (const char * layers = getenv("KEPT")) {
        if (!keep_inputs(*context, layers)) {
            refuse("inputs of layers");
        }
    }
    llama_context * draft = has_draft(params) ? draft_beside(params, llama_context_default_params(), context) : nullptr;
    printf("{\"buffers\": ");
    print_buffers(context);
    if (draft) {
        printf(", \"draft\": ");
        print_buffers(draft);
    }
    printf(", \"n_ctx\": %u, \"n_batch\": %u, \"n_ubatch\": %u, \"n_seq_max\": %u", llama_n_ctx(context),
           llama_n_batch(context), llama_n_ubatch(context), llama_n_seq_max(context));
    leave(0);
}
