// Loads a model without allocating and prints what a context of given settings would hold, in bytes, as one JSON line.
//
//   probe MODEL N_CTX N_SEQ_MAX KV_UNIFIED N_BATCH N_UBATCH TYPE_K TYPE_V FLASH_ATTN SWA_FULL N_OUTPUTS_MAX
//         [TARGET TYPE_K TYPE_V SAMPLED]
//   KEPT=2,5,8 probe …    inputs of these layers kept for a draft ("all": states of all tokens before the output), and
//                         all reserved again (common/speculative.cpp)
//   REPORTS=512 probe …   a draft's states are read too, and that many tokens reported ("all 512": of each token)
//   probe --load MODEL    loads it and no more: exit code 0, or 1 after the engine's own words; an assertion ends it
//
// TARGET: a model that MODEL drafts for; its context has the same settings but for its cache types, and the draft's is
// made beside it, with as many tokens (common_speculative_init_result). SAMPLED: rows of logits a sequence whose ten
// likeliest tokens the draft's back end picks by itself, as drafts do (common/speculative.cpp); 0: none.
// Only the draft's figures are printed.
//
// Only libllama is used, and its own fields, by name: a member that a build lacks is left out of what is set or said
// (C++20 `requires`), so the same file serves builds of many months. Weights are counted twice, with and without
// repacked copies, which depend on the CPU that the libraries were built for; layers and tensors are those of the second.
#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#define private public
#define protected public
#include "llama-arch.h"
#include "llama-context.h"
#include "llama-hparams.h"
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid.h"
#include "llama-memory-recurrent.h"
#include "llama-model.h"
#if __has_include("llama-memory-hybrid-iswa.h")
#include "llama-memory-hybrid-iswa.h"
#define HAS_HYBRID_ISWA 1
#endif
#if __has_include("llama-ext.h")
#include "llama-ext.h"
#endif
#undef private
#undef protected
#include "keep_inputs.h"

using std::string;
using std::to_string;

static string said;

static string quoted(const string & text) {
    string out = "\"";
    for (const unsigned char c : text) {
        char hex[8];
        snprintf(hex, sizeof hex, "\\u%04x", c);
        out += c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? string(hex) : string(1, static_cast<char>(c));
    }
    return out + '"';
}

[[noreturn]] static void leave(const string & object) {
    puts(object.c_str());
    fflush(stdout);
    _Exit(0);  // no destructors: they would hand back what was never allocated
}

template <class List> static string joined(const List & items) {
    string out = "[";
    for (const auto & item : items) {
        out += (out.size() > 1 ? "," : "") + string(item);
    }
    return out + "]";
}

static ggml_type type_of(const string & name) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const char * known = ggml_type_name(static_cast<ggml_type>(i));
        if (known && name == known) {
            return static_cast<ggml_type>(i);
        }
    }
    leave("{\"error\":\"no such type\"}");
}

// what a build may lack
template <class P> static void plain_load(P & p, bool extra) {
    if constexpr (requires { p.load_mode; }) {
        p.load_mode = static_cast<decltype(p.load_mode)>(0);
    } else {
        p.use_mmap = false;
    }
    if constexpr (requires { p.no_alloc; }) {
        p.no_alloc = true;
    }
    p.use_extra_bufts = extra;
}

template <class P> static void limit_outputs(P & p, uint32_t n) {
    if constexpr (requires { p.n_outputs_max; }) {
        p.n_outputs_max = n;
    }
}

template <class C> static auto breakdown_of(C * context) {
    if constexpr (requires { llama_get_memory_breakdown(context); }) {
        return llama_get_memory_breakdown(context);
    } else {
        return context->memory_breakdown();
    }
}

template <class C> static size_t output_of(const C & context) {
    if constexpr (requires { context.buf_output.get(); }) {
        return context.buf_output ? ggml_backend_buffer_get_size(context.buf_output.get()) : 0;
    }
    return 0;
}

template <class P> static uint32_t outputs_of(const P & p) {
    if constexpr (requires { p.n_outputs_max; }) {
        return p.n_outputs_max;
    }
    return p.n_batch;
}

// one attention cache, as name, bytes, K, V, cells, streams and [layer, width of K, width of V]
template <class K> static string cache_of(const string & name, const K & kv) {
    std::vector<string> layers;
    for (const auto & layer : kv.layers) {
        const string k = to_string(layer.k->ne[0]), v = to_string(layer.v ? layer.v->ne[0] : 0);
        layers.push_back("[" + to_string(layer.il) + "," + k + "," + v + "]");
    }
    const size_t k = kv.size_k_bytes(), v = kv.size_v_bytes();
    return "{\"name\":" + quoted(name) + ",\"bytes\":" + to_string(k + v) + ",\"k_bytes\":" + to_string(k) +
           ",\"v_bytes\":" + to_string(v) + ",\"cells\":" + to_string(kv.get_size()) +
           ",\"n_stream\":" + to_string(kv.n_stream) + ",\"layers\":" + joined(layers) + "}";
}

template <class R> static string states_of(const R & rs) {
    std::vector<string> layers;
    for (size_t il = 0; il < rs.r_l.size(); il++) {
        if (rs.r_l[il]) {
            layers.push_back(to_string(il));
        }
    }
    const size_t r = rs.size_r_bytes(), s = rs.size_s_bytes();
    return "{\"bytes\":" + to_string(r + s) + ",\"r_bytes\":" + to_string(r) + ",\"s_bytes\":" + to_string(s) +
           ",\"size\":" + to_string(rs.size) + ",\"layers\":" + joined(layers) + "}";
}

static void both(std::vector<string> & caches, const llama_kv_cache_iswa & pair) {
    caches.push_back(cache_of("base", *pair.get_base()));
    caches.push_back(cache_of("swa", *pair.get_swa()));
}

static string memory_of(llama_memory_i * memory) {
    std::vector<string> caches;
    string states = "null";
    if (auto * kv = dynamic_cast<llama_kv_cache *>(memory)) {
        caches.push_back(cache_of("kv", *kv));
    } else if (auto * pair = dynamic_cast<llama_kv_cache_iswa *>(memory)) {
        both(caches, *pair);
    } else if (auto * hybrid = dynamic_cast<llama_memory_hybrid *>(memory)) {
        caches.push_back(cache_of("attn", *hybrid->get_mem_attn()));
        states = states_of(*hybrid->get_mem_recr());
    } else if (auto * rs = dynamic_cast<llama_memory_recurrent *>(memory)) {
        states = states_of(*rs);
    }
#ifdef HAS_HYBRID_ISWA
    else if (auto * mixed = dynamic_cast<llama_memory_hybrid_iswa *>(memory)) {
        both(caches, *mixed->get_mem_attn());
        states = states_of(*mixed->get_mem_recr());
    }
#endif
    return "\"kv\":" + joined(caches) + ",\"rs\":" + states;
}

template <class F> static string each(uint32_t n, F value) {
    std::vector<string> out;
    for (uint32_t il = 0; il < n; il++) {
        out.push_back(to_string(static_cast<uint32_t>(value(il))));
    }
    return joined(out);
}

template <class M> static string hparams_of(const M & model) {
    const auto & h = model.hparams;
    string out = "\"arch\":" + quoted(llm_arch_name(model.arch));
    uint32_t all = 0;
    if constexpr (requires { h.n_layer_all; h.n_layer(); }) {
        all = h.n_layer_all;
        out += ",\"n_layer_all\":" + to_string(all) + ",\"n_layer\":" + to_string(h.n_layer());
    } else {
        all = h.n_layer;
        out += ",\"n_layer_all\":" + to_string(all) + ",\"n_layer\":" + to_string(h.n_layer);
    }
    const auto add = [&](const char * name, auto value) { out += string(",\"") + name + "\":" + to_string(value); };
    add("n_embd", h.n_embd);
    add("n_vocab", llama_vocab_n_tokens(llama_model_get_vocab(&model)));
    add("n_ctx_train", h.n_ctx_train);
    add("n_swa", h.n_swa);
    add("swa_type", static_cast<int>(h.swa_type));
    if constexpr (requires { h.is_mla(); h.n_embd_head_k(0); h.n_embd_head_k_swa; h.is_recr(0); }) {
        out += string(",\"is_mla\":") + (h.is_mla() ? "true" : "false");
        add("n_embd_head_k", h.n_embd_head_k_full);
        add("n_embd_head_v", h.n_embd_head_v_full);
        add("n_embd_head_k_swa", h.n_embd_head_k_swa);
        add("n_embd_head_v_swa", h.n_embd_head_v_swa);
        add("n_layer_kv_from_start", h.n_layer_kv_from_start);
    }
    add("n_tensors", model.tensors_by_name.size());
    out += ",\"n_head\":" + each(all, [&](uint32_t il) { return h.n_head(il); });
    out += ",\"n_head_kv\":" + each(all, [&](uint32_t il) { return h.n_head_kv(il); });
    out += ",\"is_swa\":" + each(all, [&](uint32_t il) { return h.is_swa(il); });
    if constexpr (requires { h.is_recr(0); }) {
        out += ",\"is_recr\":" + each(all, [&](uint32_t il) { return h.is_recr(il); });
    }
    out += ",\"n_ff\":" + each(all, [&](uint32_t il) { return h.n_ff(il); });
    add("n_embd_r", h.n_embd_r());
    add("n_embd_s", h.n_embd_s());
    return out;
}

static llama_model * load(const char * path, bool extra) {
    llama_model_params params = llama_model_default_params();
    plain_load(params, extra);
    params.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(path, params);
    if (!model) {
        leave("{\"error\":" + quoted(said) + "}");
    }
    return model;
}

template <class P> static void limit_sampled(P & p, uint32_t n) {
    if constexpr (requires { p.n_outputs_max_per_seq; }) {
        p.n_outputs_max_per_seq = n;
    }
}

template <class C> static void pick_tokens(C & context, uint32_t n_seqs) {
    if constexpr (requires { context.set_sampler(0, nullptr); }) {
        for (uint32_t i = 0; i < n_seqs; i++) {
            llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
            llama_sampler_chain_add(chain, llama_sampler_init_top_k(10));
            context.set_sampler(static_cast<llama_seq_id>(i), chain);
        }
        context.sched_reserve();
    }
}

template <class P> static void stand_beside(P & p, llama_context * other) {
    if constexpr (requires { p.ctx_other; }) {
        p.ctx_other = other;
    } else if (other) {
        leave("{\"error\":\"no context beside another\"}");
    }
}

static llama_context * context_for(llama_model * model, char ** word, char ** types, llama_context * other = nullptr,
                                   uint32_t sampled = 0) {
    llama_context_params p = llama_context_default_params();
    const auto number = [&](int i) { return static_cast<uint32_t>(atoi(word[i])); };
    p.n_ctx = number(0);
    p.n_seq_max = number(1);
    p.kv_unified = number(2);
    p.n_batch = number(3);
    p.n_ubatch = number(4);
    p.type_k = type_of(types[0]);
    p.type_v = type_of(types[1]);
    p.flash_attn_type = strcmp(word[7], "on") == 0    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                        : strcmp(word[7], "off") == 0 ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                      : LLAMA_FLASH_ATTN_TYPE_AUTO;
    p.swa_full = number(8);
    limit_outputs(p, number(9));
    stand_beside(p, other);
    if (other) {
        p.n_ctx = llama_n_ctx(other);
        limit_sampled(p, sampled);
    }
    said.clear();
    llama_context * context = llama_init_from_model(model, p);
    if (!context) {
        leave("{\"error\":" + quoted(said) + "}");
    }
    if (sampled) {
        pick_tokens(*context, p.n_seq_max);
    }
    return context;
}

// what a draft's own context is asked for (common/speculative.cpp), and a batch that reports so many tokens
template <class C> static void report_tokens(C & context, const string & rows) {
    if constexpr (requires { context.set_embeddings_nextn(true, true); }) {
        const bool all = rows.rfind("all ", 0) == 0;
        context.set_embeddings_nextn(true, !all);
        context.output_reserve(std::stoi(all ? rows.substr(4) : rows));
    } else {
        leave("{\"error\":\"no hidden states are reported\"}");
    }
}

int main(int argc, char ** argv) {
    if (argc == 3 && !strcmp(argv[1], "--load")) {
        llama_backend_init();
        llama_model_params params = llama_model_default_params();
        plain_load(params, true);
        _Exit(llama_model_load_from_file(argv[2], params) ? 0 : 1);
    }
    if (argc != 12 && argc != 16) {
        fputs("usage: probe MODEL and ten settings, and four of a target\n", stderr);
        return 2;
    }
    char ** const settings = argv + 2;
    llama_backend_init();
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR) {
                said += text;
            }
        },
        nullptr);
    const uint32_t sampled = argc > 12 ? static_cast<uint32_t>(atoi(argv[15])) : 0;
    llama_context * target = argc > 12 ? context_for(load(argv[12], false), settings, argv + 13) : nullptr;
    llama_model * model = load(argv[1], false);
    llama_context * context = context_for(model, settings, settings + 5, target, sampled);
    if (const char * layers = getenv("KEPT")) {
        if (!keep_inputs(*context, layers)) {
            leave("{\"error\":\"no inputs of layers are kept\"}");
        }
        context->output_reserve(0);
    }
    if (const char * rows = getenv("REPORTS")) {
        report_tokens(*context, rows);
    }
    size_t held = 0, planned = 0, plain = 0;
    for (const auto & [type, size] : breakdown_of(context)) {
        plain += size.model;
        held += size.context;
        planned += size.compute;
    }
    string buffers;
    size_t repacked = 0;
    llama_model * copied = load(argv[1], true);
    for (const auto & [type, size] : breakdown_of(context_for(copied, settings, settings + 5, target, sampled))) {
        repacked += size.model;
        const string one = quoted(ggml_backend_buft_name(type)) + ":" + to_string(size.model);
        buffers = buffers.empty() ? one : one + "," + buffers;
    }
    const auto & c = context->cparams;
    string out = "{\"model_bytes_no_repack\":" + to_string(plain) + ",\"effective\":{\"n_ctx\":" +
                 to_string(llama_n_ctx(context)) + ",\"n_ctx_seq\":" + to_string(llama_n_ctx_seq(context)) +
                 ",\"n_batch\":" + to_string(llama_n_batch(context)) + ",\"n_ubatch\":" +
                 to_string(llama_n_ubatch(context)) + ",\"n_outputs_max\":" + to_string(outputs_of(c)) +
                 ",\"flash_attn\":" + (c.flash_attn ? "true" : "false") + "}," + memory_of(context->memory.get()) +
                 ",\"context_bytes\":" + to_string(held) + ",\"compute_bytes\":" + to_string(planned) +
                 ",\"output_bytes\":" + to_string(output_of(*context)) + ",\"model_bytes\":" + to_string(repacked) +
                 ",\"hparams\":{" + hparams_of(*copied) + ",\"model_buffers\":{" + buffers + "}}}";
    leave(out);
}
