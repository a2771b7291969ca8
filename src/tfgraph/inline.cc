// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/inline.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "tfgraph/flat_builder.h"
#include "tfgraph/transform.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::FunctionDef;
using saved_model::FunctionLibrary;
using saved_model::OpTable;

constexpr size_t kMaxDepth = 512;

void SortUnique(std::vector<int>* v) {
  std::sort(v->begin(), v->end());
  v->erase(std::unique(v->begin(), v->end()), v->end());
}

class Inliner {
 public:
  Inliner(const FunctionLibrary& library, const OpTable& ops, int64_t max_nodes)
      : library_(library), ops_(ops), budget_(max_nodes), max_nodes_(max_nodes) {}

  Result<Graph> Run(const Graph& graph) {
    Scope top;
    TFE_ASSIGN_OR_RETURN(Body body, Expand(graph, top, nullptr));
    out_.args = body.args;
    if (std::find(out_.args.begin(), out_.args.end(), -1) != out_.args.end()) {
      return Error(ErrorId::kGraphInvalid, "an argument is a call of a function");
    }
    for (size_t i = 0; i < graph.returns.size(); ++i)
      out_.returns.push_back({graph.returns[i].name, body.returns[i]});
    std::unordered_set<std::string> names;
    for (size_t i = 0; i < graph.control_returns.size(); ++i) {
      int n = 0;
      for (int node : body.effects[i]) {
        std::string name = graph.control_returns[i].name;
        if (n++ > 0) name += "/" + out_.nodes[static_cast<size_t>(node)].name;
        if (names.insert(name).second) out_.control_returns.push_back({std::move(name), node});
      }
    }
    TFE_RETURN_IF_ERROR(SortTopologically(out_));
    TFE_RETURN_IF_ERROR(Validate(out_));
    return std::move(out_);
  }

 private:
  // Where a body is spliced in.
  struct Scope {
    std::string device;
    std::string prefix;          // "" or "outer/call/"
    std::vector<TensorId> args;  // values of the arguments, in the output graph
    std::vector<int> control;    // what every node of the body must wait for
  };
  // What a spliced body leaves behind, in indices of the output graph.
  struct Body {
    std::vector<int> args;  // top level only
    std::vector<TensorId> returns;
    std::vector<std::vector<int>> effects;  // per control return
  };
  // A node of the graph being spliced.
  struct Mapped {
    int node = -1;                  // its copy, or -1 for arguments and calls
    std::vector<TensorId> outputs;  // arguments and calls
    std::vector<int> done;          // calls: what must have run before the call counts as done
    std::vector<int> effects;       // calls: its side effects
  };

  const FunctionDef* Callee(const Node& node) const {
    if (node.op == "PartitionedCall" || node.op == "StatefulPartitionedCall") {
      const AttrValue* f = node.attr("f");
      auto name = f ? f->func() : std::nullopt;
      return name ? library_.Find(*name) : nullptr;
    }
    const FunctionDef* function = library_.Find(node.op);
    return function != nullptr && ops_.Find(node.op) == nullptr ? function : nullptr;
  }

  // The attributes a polymorphic function is called with: those of the call by name, or inside its
  // func attribute.
  static AttrMap Instantiation(const Node& call, const FunctionDef& function) {
    AttrMap attrs;
    if (function.signature.attrs.empty()) return attrs;
    if (call.op == function.name()) {
      attrs = call.attrs;
    } else if (const AttrValue* f = call.attr("f")) {
      attrs = f->func_attrs();
    }
    for (const auto& def : function.signature.attrs)
      if (def.has_default) attrs.try_emplace(def.name, def.default_value);
    return attrs;
  }

  Result<const Graph*> FlatBody(const Node& call, const FunctionDef& function, Graph* own) {
    const bool polymorphic = !function.signature.attrs.empty();
    if (!polymorphic) {
      if (auto it = flat_.find(&function); it != flat_.end()) return &it->second;
    }
    TFE_ASSIGN_OR_RETURN(
        Graph graph, FlatBuilder(library_, ops_).Function(function, Instantiation(call, function)));
    TFE_RETURN_IF_ERROR(SortTopologically(graph));
    if (polymorphic) {
      *own = std::move(graph);
      return own;
    }
    return &(flat_[&function] = std::move(graph));
  }

  Result<Body> ExpandCall(const Node& call, const FunctionDef& function, Scope inner) {
    if (std::find(stack_.begin(), stack_.end(), &function) != stack_.end()) {
      return Error(ErrorId::kFunctionRecursive, "node \"{}{}\": function \"{}\" calls itself",
                   inner.prefix, call.name, function.name());
    }
    if (stack_.size() >= kMaxDepth) {
      return Error(ErrorId::kGraphTooLarge, "function \"{}\": calls nest more than {} deep",
                   function.name(), kMaxDepth);
    }
    Graph own;
    TFE_ASSIGN_OR_RETURN(const Graph* body, FlatBody(call, function, &own));
    bool match =
        body->args.size() == inner.args.size() && body->returns.size() == call.output_types.size();
    for (size_t i = 0; match && i < inner.args.size(); ++i)
      match = body->nodes[static_cast<size_t>(body->args[i])].output_types[0] ==
              out_.type_of(inner.args[i]);
    for (size_t i = 0; match && i < call.output_types.size(); ++i)
      match = body->type_of(body->returns[i].tensor) == call.output_types[i];
    if (!match) {
      return Error(ErrorId::kGraphInvalid,
                   "node \"{}\" ({}): its {} inputs and {} outputs do not match function \"{}\" "
                   "with {} and {}",
                   call.name, call.op, inner.args.size(), call.output_types.size(), function.name(),
                   body->args.size(), body->returns.size());
    }
    stack_.push_back(&function);
    auto result = Expand(*body, inner, body);
    stack_.pop_back();
    return result;
  }

  // Copies `graph` (sorted) into out_. `called` is null at the top level, where arguments are
  // copied as well.
  Result<Body> Expand(const Graph& graph, const Scope& scope, const Graph* called) {
    Body body;
    std::vector<Mapped> mapped(graph.nodes.size());
    std::vector<int> arg_index(graph.nodes.size(), -1);
    if (called != nullptr) {
      for (size_t i = 0; i < graph.args.size(); ++i)
        arg_index[static_cast<size_t>(graph.args[i])] = static_cast<int>(i);
    }
    std::unordered_set<std::string_view> local_names;
    std::vector<std::pair<int, size_t>> back_edges;  // node of `graph`, input number
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      Mapped& m = mapped[i];
      if (arg_index[i] >= 0) {
        m.outputs = {scope.args[static_cast<size_t>(arg_index[i])]};
        continue;
      }
      if (--budget_ < 0) {
        return Error(ErrorId::kGraphTooLarge, "node \"{}{}\": inlining gives more than {} nodes",
                     scope.prefix, node.name, max_nodes_);
      }
      std::vector<TensorId> inputs;
      std::vector<int> control;
      bool inside = false;  // waits for scope.control through another node of this body
      for (size_t k = 0; k < node.inputs.size(); ++k) {
        TensorId t = node.inputs[k];
        if (static_cast<size_t>(t.node) >= i) {
          back_edges.push_back({static_cast<int>(i), k});
          inputs.push_back({});
          continue;
        }
        const Mapped& from = mapped[static_cast<size_t>(t.node)];
        inside |= from.node >= 0;
        inputs.push_back(from.node >= 0 ? TensorId{from.node, t.port}
                                        : from.outputs[static_cast<size_t>(t.port)]);
      }
      for (int c : node.control_inputs) {
        const Mapped& from = mapped[static_cast<size_t>(c)];
        if (from.node >= 0) {
          inside = true;
          control.push_back(from.node);
        } else {
          control.insert(control.end(), from.done.begin(), from.done.end());
        }
      }
      const FunctionDef* callee = Callee(node);
      if (!inside || callee != nullptr)
        control.insert(control.end(), scope.control.begin(), scope.control.end());
      SortUnique(&control);
      const std::string& device = node.device.empty() ? scope.device : node.device;
      if (callee != nullptr) {
        Scope inner{device, scope.prefix + node.name + "/", std::move(inputs), control};
        TFE_ASSIGN_OR_RETURN(Body call, ExpandCall(node, *callee, std::move(inner)));
        m.outputs = std::move(call.returns);
        m.done = std::move(control);
        for (TensorId t : m.outputs) m.done.push_back(t.node);
        for (const auto& effects : call.effects)
          m.effects.insert(m.effects.end(), effects.begin(), effects.end());
        SortUnique(&m.effects);
        m.done.insert(m.done.end(), m.effects.begin(), m.effects.end());
        SortUnique(&m.done);
        continue;
      }
      m.node = static_cast<int>(out_.nodes.size());
      Node copy = node;
      copy.device = device;
      copy.inputs = std::move(inputs);
      copy.control_inputs = std::move(control);
      if (!scope.prefix.empty()) Rename(graph, scope.prefix, &local_names, &copy);
      out_.nodes.push_back(std::move(copy));
    }
    for (auto [i, k] : back_edges) {
      TensorId t = graph.nodes[static_cast<size_t>(i)].inputs[k];
      const Mapped& to = mapped[static_cast<size_t>(i)];
      const Mapped& from = mapped[static_cast<size_t>(t.node)];
      if (to.node < 0 || from.node < 0)
        return Error(ErrorId::kGraphInvalid, "node \"{}\": malformed loop", graph.nodes[i].name);
      out_.nodes[static_cast<size_t>(to.node)].inputs[k] = {from.node, t.port};
    }
    if (called == nullptr) {
      for (int a : graph.args) body.args.push_back(mapped[static_cast<size_t>(a)].node);
    }
    for (const auto& r : graph.returns) {
      const Mapped& from = mapped[static_cast<size_t>(r.tensor.node)];
      body.returns.push_back(from.node >= 0 ? TensorId{from.node, r.tensor.port}
                                            : from.outputs[static_cast<size_t>(r.tensor.port)]);
    }
    for (const auto& r : graph.control_returns) {
      const Mapped& from = mapped[static_cast<size_t>(r.node)];
      body.effects.push_back(from.node >= 0 ? std::vector<int>{from.node} : from.effects);
    }
    return body;
  }

  // Gives a copied node the names it has in the output graph.
  static void Rename(const Graph& graph, const std::string& prefix,
                     std::unordered_set<std::string_view>* local_names, Node* node) {
    node->name = prefix + node->name;
    if (node->op == "Enter" || node->op == "RefEnter") {
      if (const AttrValue* frame = node->attr("frame_name"); frame && frame->s())
        node->attrs["frame_name"] = AttrValue::String(prefix + *frame->s());
    }
    const AttrValue* colocation = node->attr("_class");
    auto list = colocation ? colocation->string_list() : std::nullopt;
    if (!list) return;
    if (local_names->empty())
      for (const Node& n : graph.nodes) local_names->insert(n.name);
    std::vector<std::string> renamed;
    for (const std::string& s : *list) {
      std::string_view target = s;
      if (!target.starts_with("loc:@")) {
        renamed.push_back(s);
      } else if (local_names->contains(target.substr(5))) {
        renamed.push_back("loc:@" + prefix + std::string(target.substr(5)));
      }
    }
    if (renamed.empty()) {
      node->attrs.erase("_class");
    } else {
      node->attrs["_class"] = AttrValue::StringList(renamed);
    }
  }

  const FunctionLibrary& library_;
  const OpTable& ops_;
  int64_t budget_;
  int64_t max_nodes_;
  Graph out_;
  std::vector<const FunctionDef*> stack_;
  std::unordered_map<const FunctionDef*, Graph> flat_;
};

}  // namespace

Result<Graph> InlineCalls(Graph graph, const FunctionLibrary& library, const OpTable& ops,
                          int64_t max_nodes) {
  TFE_RETURN_IF_ERROR(SortTopologically(graph));
  return Inliner(library, ops, max_nodes).Run(graph);
}

}  // namespace tfengine::tfgraph
