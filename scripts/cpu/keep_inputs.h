// What a draft that reads hidden states asks of its target, and what the next batch does then (common/speculative.cpp,
// llama_context::decode). Both probes include it, each with llama-context.h made public; false where a build has none.
#pragma once
#include <sstream>
#include <string>

template <class C> static bool keep_inputs(C & context, const char * layers) {
    if constexpr (requires { context.set_embeddings_layer_inp(0u, true); }) {
        std::stringstream list(layers);
        for (std::string il; std::getline(list, il, ',');) {
            if (il == "all") {  // every token's state before the output, for prediction layers
                context.set_embeddings_nextn(true, false);
            } else {
                context.set_embeddings_layer_inp(static_cast<uint32_t>(std::stoi(il)), true);
            }
        }
        context.sched_need_reserve = true;  // by itself after layers; a batch that needs more is given it, too
        context.sched_reserve();
        return true;
    }
    return false;
}
