// Statements as people write them, with mutations: attention and its masks, norms, softmax by hand, log-sum-exp,
// variances, moving windows, pooling, convolutions, routing. These are the chains that fusion acts on.
#include <algorithm>

#include "tools/fuzz/builder.h"

namespace quern::fuzz {

namespace {

/// "x[i, j]" with its axes marked as used bare.
std::string at(const TensorInfo& t, const std::vector<IndexInfo*>& indices) {
  std::string out = t.name + '[';
  for (std::size_t n = 0; n < indices.size(); ++n) {
    indices[n]->bare = true;
    out += (n ? "," : "") + indices[n]->name;
  }
  return out + ']';
}

Shape extents(const std::vector<IndexInfo*>& indices) {
  Shape s;
  for (const IndexInfo* i : indices) s.push_back(i->extent);
  return s;
}

void attention(Builder& b) {
  Rng& rng = b.rng;
  const auto size = [&](std::int64_t room) { return b.some_size(room); };
  std::vector<IndexInfo*> batch;
  for (int i = rng.below(3); i > 0; --i) batch.push_back(b.new_index(size(4)));
  IndexInfo* m = b.new_index(size(b.options.large ? 200 : 20));
  IndexInfo* n = b.new_index(size(b.options.large ? 200 : 40));
  IndexInfo* d = b.new_index(size(20));
  IndexInfo* e = b.new_index(size(12));
  const DType type = b.float_type();
  const auto tensor = [&](std::vector<IndexInfo*> axes) -> TensorInfo& {
    if (axes.size() > 1 && rng.chance(20)) std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    TensorInfo& t = b.parameter(rng.chance(85) ? type : b.float_type(), extents(axes));
    t.used = true;
    return t;
  };
  const auto joined = [&](std::initializer_list<IndexInfo*> more) {
    std::vector<IndexInfo*> v = batch;
    v.insert(v.end(), more);
    return v;
  };
  // Reads follow the axes of the parameter, whichever way round they are.
  const auto use = [&](const TensorInfo& t, std::vector<IndexInfo*> axes) {
    if (!(extents(axes) == t.shape)) std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return at(t, axes);
  };
  const TensorInfo& q = tensor(joined({m, d}));
  const TensorInfo& k = tensor(joined({n, d}));
  const TensorInfo& v = tensor(joined({n, e}));
  std::string score = "sum[" + d->name + "](" + use(q, joined({m, d})) + " * " + use(k, joined({n, d})) + ')';
  if (rng.chance(80)) score += rng.pick({" / sqrt(", " / ("}) + d->extent.text + " + 1)";
  Scope both;
  for (IndexInfo* i : joined({m, n})) both = b.with(both, i);
  if (rng.chance(25)) score += " + " + b.real(both, 1);
  if (rng.chance(15)) score += " - 0.25 * (" + m->name + " - " + n->name + ')';
  if (rng.chance(12)) score = "3.0 * tanh((" + score + ") / 3.0)";
  if (rng.chance(12)) score = "where(" + b.boolean(both, 0) + ", " + score + ", -inf)";
  const TensorInfo& s = b.temporary(DType::f32, extents(joined({m, n})));
  b.say(b.target_text(s.name, joined({m, n}), false) + " = " + score);
  const_cast<TensorInfo&>(s).used = true;
  const std::string own = at(s, joined({m, n}));
  const bool masked = rng.chance(50);
  const std::string domain = masked ? " where " + b.mask(both, 0) : "";
  const std::string value = use(v, joined({n, e}));
  const auto left = [&](std::initializer_list<IndexInfo*> more, const char*) { return joined(more); };
  std::vector<IndexInfo*> out = left({m, e}, "o");
  // Every index on the left has a bare use on the right, so nothing needs a range.
  switch (rng.below(6)) {
    case 0: case 1: {
      const TensorInfo& o = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(o.name, out, true) + " = sum[" + n->name + "](softmax[" + n->name + domain + "](" + own + ") * " + value + ')');
      break;
    }
    case 2: {  // by hand
      TensorInfo& top = b.temporary(DType::f32, extents(joined({m})));
      b.say(b.target_text(top.name, joined({m}), true) + " = max[" + n->name + domain + "](" + own + ')');
      top.used = true;
      const std::string weight = "exp(" + own + " - " + at(top, joined({m})) + ')';
      const TensorInfo& o = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(o.name, out, true) + " = sum[" + n->name + domain + "](" + weight + " * " + value + ") / sum[" + n->name + domain + "](" + weight + ')');
      break;
    }
    case 3: {  // log-sum-exp, then weights from it
      TensorInfo& l = b.temporary(DType::f32, extents(joined({m})));
      b.say(b.target_text(l.name, joined({m}), true) + " = logsumexp[" + n->name + domain + "](" + own + ')');
      l.used = rng.chance(50);
      const TensorInfo& o = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(o.name, out, true) + " = sum[" + n->name + domain + "](exp(" + own + " - " + at(l, joined({m})) + ") * " + value + ')');
      break;
    }
    case 4: {  // difference of two softmaxes
      const TensorInfo& o = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(o.name, out, true) + " = sum[" + n->name + "]((softmax[" + n->name + domain + "](" + own + ") - 0.5 * softmax[" + n->name + "](2 * " + own +
            ")) * " + value + ')');
      break;
    }
    default: {  // mean and spread under the weights
      TensorInfo& mu = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(mu.name, out, true) + " = sum[" + n->name + "](softmax[" + n->name + domain + "](" + own + ") * " + value + ')');
      mu.used = rng.chance(60);
      const TensorInfo& o = b.temporary(DType::f32, extents(out));
      b.say(b.target_text(o.name, out, true) + " = sum[" + n->name + "](softmax[" + n->name + domain + "](" + own + ") * (" + value + " - " + at(mu, out) + ") ** 2)");
      break;
    }
  }
}

void norm_like(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* r = b.new_index(b.some_size(20));
  IndexInfo* c = b.new_index(b.some_size(100));
  IndexInfo* k = b.new_index(c->extent);
  TensorInfo& x = b.parameter(b.float_type(), {r->extent, c->extent});
  TensorInfo& g = b.parameter(b.float_type(), {c->extent});
  x.used = g.used = true;
  const std::string own = at(x, {r, c}), other = at(x, {r, k});
  const std::string mean = "mean[" + k->name + "](" + other + ')';
  TensorInfo& y = b.temporary(DType::f32, {r->extent, c->extent});
  std::string body;
  switch (rng.below(6)) {
    case 0: body = '(' + own + " - " + mean + ") * rsqrt(var[" + k->name + "](" + other + ") + 0.01) * " + at(g, {c}); break;
    case 1: body = own + " * rsqrt(mean[" + k->name + "](" + other + " ** 2) + 0.01) * " + at(g, {c}); break;
    case 2: body = own + " / (0.1 + norm[" + k->name + "](" + other + ")) + " + at(g, {c}); break;
    case 3: body = '(' + own + " - " + mean + ") / (0.5 + std[" + k->name + "](" + other + ")) * " + at(g, {c}); break;
    case 4: body = "exp(" + own + " - max[" + k->name + "](" + other + ")) / sum[" + k->name + "](exp(" + other + ")) * " + at(g, {c}); break;
    default: body = own + " - logsumexp[" + k->name + "](" + other + ") + " + at(g, {c}); break;
  }
  b.say(b.target_text(y.name, {r, c}, true) + " = " + body);
  if (rng.chance(40)) {  // a product that it feeds
    IndexInfo* e = b.new_index(b.some_size(12));
    TensorInfo& w = b.parameter(b.float_type(), {c->extent, e->extent});
    w.used = y.used = true;
    TensorInfo& z = b.temporary(DType::f32, {r->extent, e->extent});
    b.say(b.target_text(z.name, {r, e}, true) + " = sum[" + c->name + "](" + at(y, {r, c}) + " * " + at(w, {c, e}) + ')');
  }
}

void window(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* r = b.new_index(b.some_size(6));
  IndexInfo* t = b.new_index(b.some_size(40));
  const int width = rng.between(1, 4);
  const std::string w = std::to_string(width);
  IndexInfo* k = b.new_index(b.literal_size(width));
  TensorInfo& y = b.temporary(DType::f32, {r->extent, t->extent});
  const auto say = [&](const std::string& body) { b.say(b.target_text(y.name, {r, t}, false) + " = " + body); };
  const DType type = b.float_type();
  switch (rng.below(6)) {
    case 0: {  // reads that are all inside
      TensorInfo& x = b.parameter(type, {r->extent, {t->extent.text + '+' + w, t->extent.value + width}});
      x.used = r->bare = true;
      say(std::string(b.options.exact ? "sum[" : rng.pick({"mean[", "sum[", "max["})) + k->name + " in 0:" + w + "](" + x.name + '[' + r->name + ", " + t->name + " + " + k->name + "])");
      break;
    }
    case 1: {  // padded convolution
      TensorInfo& x = b.parameter(type, {r->extent, t->extent});
      TensorInfo& f = b.parameter(type, {k->extent});
      x.used = f.used = r->bare = true;
      say("sum[" + k->name + "](pad(" + x.name + '[' + r->name + ", " + t->name + " + " + k->name + " - 1], 0.0) * " + at(f, {k}) + ')');
      break;
    }
    case 2: {  // pooling
      TensorInfo& x = b.parameter(type, {r->extent, {w + '*' + t->extent.text, width * t->extent.value}});
      x.used = r->bare = true;
      say("max[" + k->name + " in 0:" + w + "](" + x.name + '[' + r->name + ", " + w + " * " + t->name + " + " + k->name + "])");
      break;
    }
    case 3: {  // a running sum and its differences
      TensorInfo& x = b.parameter(type, {r->extent, t->extent});
      x.used = true;
      TensorInfo& s = b.temporary(DType::f32, {r->extent, t->extent});
      s.used = true;
      b.say(b.target_text(s.name, {r, t}, true) + " = cumsum[" + t->name + "](" + at(x, {r, t}) + ')');
      say(at(s, {r, t}) + " - where(" + t->name + " >= " + w + ", " + s.name + '[' + r->name + ", " + t->name + " - " + w + "], 0.0)");
      break;
    }
    case 4: {  // a domain that guards
      TensorInfo& x = b.parameter(type, {r->extent, t->extent});
      x.used = r->bare = true;
      say("sum[" + k->name + " in 0:" + w + " where " + t->name + " >= " + k->name + "](" + x.name + '[' + r->name + ", " + t->name + " - " + k->name + "])");
      break;
    }
    default: {  // everything up to here
      IndexInfo* u = b.new_index(t->extent);
      TensorInfo& x = b.parameter(type, {r->extent, t->extent});
      x.used = true;
      say(std::string(b.options.exact ? "sum[" : rng.pick({"sum[", "max[", "logsumexp[", "mean["})) + u->name + " where " + u->name + rng.pick({" <= ", " < "}) + t->name + "](" + at(x, {r, u}) + ')');
      break;
    }
  }
}

void routing(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* t = b.new_index(b.some_size(20));
  IndexInfo* e = b.new_index(b.some_size(16));
  IndexInfo* d = b.new_index(b.some_size(16));
  IndexInfo* j = b.new_index(b.literal_size(rng.between(1, 3)));
  TensorInfo& x = b.parameter(b.float_type(), {t->extent, d->extent});
  TensorInfo& w = b.parameter(b.float_type(), {d->extent, e->extent});
  x.used = w.used = true;
  TensorInfo& p = b.temporary(DType::f32, {t->extent, e->extent});
  const std::string product = "sum[" + d->name + "](" + at(x, {t, d}) + " * " + at(w, {d, e}) + ')';
  b.say(b.target_text(p.name, {t, e}, true) + " = " + (b.options.exact ? product : "softmax[" + e->name + "](" + product + ')'));
  p.used = true;
  TensorInfo& v = b.temporary(DType::f32, {t->extent, j->extent});
  TensorInfo& i = b.temporary(DType::i32, {t->extent, j->extent});
  b.say(v.name + '[' + t->name + ", " + j->name + "], " + i.name + '[' + t->name + ", " + j->name + "] = topk[" + e->name + " -> " + j->name + " in 0:" + j->extent.text + "](" + at(p, {t, e}) + ')');
  if (rng.chance(50) && !b.options.exact) {
    v.used = true;
    IndexInfo* k = b.new_index(j->extent);
    TensorInfo& g = b.temporary(DType::f32, {t->extent, j->extent});
    b.say(b.target_text(g.name, {t, j}, true) + " = " + at(v, {t, j}) + " / (0.01 + sum[" + k->name + "](" + at(v, {t, k}) + "))");
  }
}

void cross_entropy(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* t = b.new_index(b.some_size(20));
  Size classes = b.some_size(60);
  if (classes.value == 0) classes = b.literal_size(3);
  IndexInfo* v = b.new_index(classes);
  IndexInfo* d = b.new_index(b.some_size(12));
  TensorInfo& x = b.parameter(b.float_type(), {t->extent, d->extent});
  TensorInfo& w = b.parameter(b.float_type(), {v->extent, d->extent});
  TensorInfo& label = b.parameter(rng.pick({DType::i32, DType::i64}), {t->extent});
  label.fact = v->extent;
  x.used = w.used = label.used = true;
  TensorInfo& z = b.temporary(DType::f32, {t->extent, v->extent});
  z.used = true;
  b.say(b.target_text(z.name, {t, v}, true) + " = sum[" + d->name + "](" + at(x, {t, d}) + " * " + at(w, {v, d}) + ')');
  const std::string loss = std::string(b.options.exact ? "max[" : "logsumexp[") + v->name + "](" + at(z, {t, v}) + ") - " + z.name + '[' + t->name + ", " + label.name + '[' + t->name + "]]";
  if (rng.chance(50)) {
    const TensorInfo& y = b.temporary(DType::f32, {});
    b.say(y.name + " = " + (b.options.exact ? "sum[" : "mean[") + t->name + "](" + loss + ')');
  } else {
    const TensorInfo& y = b.temporary(DType::f32, {t->extent});
    b.say(b.target_text(y.name, {t}, true) + " = " + loss);
  }
}

void variance(Builder& b) {
  IndexInfo* n = b.new_index(b.some_size(60));
  IndexInfo* c = b.new_index(b.some_size(12));
  IndexInfo* d = b.new_index(c->extent);
  TensorInfo& x = b.parameter(b.float_type(), {n->extent, c->extent});
  TensorInfo& w = b.parameter(DType::f32, {n->extent});
  b.fill(w, "positive");
  x.used = w.used = true;
  TensorInfo& mu = b.temporary(DType::f32, {c->extent});
  const std::string total = "(0.01 + sum[" + n->name + "](" + at(w, {n}) + "))";
  b.say(b.target_text(mu.name, {c}, true) + " = sum[" + n->name + "](" + at(w, {n}) + " * " + at(x, {n, c}) + ") / " + total);
  mu.used = true;
  const std::string centred = '(' + at(x, {n, c}) + " - " + at(mu, {c}) + ')';
  if (b.rng.chance(50)) {
    const TensorInfo& y = b.temporary(DType::f32, {c->extent});
    b.say(b.target_text(y.name, {c}, true) + " = sum[" + n->name + "](" + at(w, {n}) + " * " + centred + " ** 2) / " + total);
  } else {
    const TensorInfo& y = b.temporary(DType::f32, {c->extent, d->extent});
    b.say(b.target_text(y.name, {c, d}, true) + " = sum[" + n->name + "](" + at(w, {n}) + " * " + centred + " * (" + at(x, {n, d}) + " - " + at(mu, {d}) + ")) / " + total);
  }
}

void distances(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* m = b.new_index(b.some_size(20));
  IndexInfo* n = b.new_index(b.some_size(30));
  IndexInfo* d = b.new_index(b.some_size(8));
  TensorInfo& x = b.parameter(b.float_type(), {m->extent, d->extent});
  TensorInfo& y = b.parameter(b.float_type(), {n->extent, d->extent});
  x.used = y.used = true;
  const std::string square = "sum[" + d->name + "]((" + at(x, {m, d}) + " - " + at(y, {n, d}) + ") ** 2)";
  TensorInfo& z = b.temporary(DType::f32, {m->extent, n->extent});
  b.say(b.target_text(z.name, {m, n}, true) + " = " + (b.options.exact || rng.chance(50) ? square : "sqrt(" + square + ')'));
  if (rng.chance(70)) {
    z.used = true;
    const bool arg = rng.chance(50);
    const TensorInfo& near = b.temporary(arg ? DType::i32 : DType::f32, {m->extent});
    b.say(b.target_text(near.name, {m}, true) + " = " + (arg ? "argmin[" : "min[") + n->name + "](" + at(z, {m, n}) + ')');
  }
}

/// A cache in pages, read up to a length.
void paged(Builder& b) {
  Rng& rng = b.rng;
  IndexInfo* r = b.new_index(b.some_size(4));
  Size pages = b.some_size(8);
  if (pages.value == 0) pages = b.literal_size(2);
  const Size slot = b.literal_size(rng.between(1, 4));
  Size used = b.some_size(5);
  IndexInfo* d = b.new_index(b.some_size(8));
  TensorInfo& k = b.parameter(b.float_type(), {pages, slot, d->extent});
  TensorInfo& q = b.parameter(b.float_type(), {r->extent, d->extent});
  TensorInfo& table = b.parameter(DType::i32, {r->extent, used});
  TensorInfo& length = b.parameter(DType::i32, {r->extent});
  table.fact = pages;
  b.fill(length, "lengths");
  k.used = q.used = table.used = length.used = true;
  IndexInfo* n = b.new_index({used.text + '*' + slot.text, used.value * slot.value});
  const std::string view = b.fresh("v");
  b.say("view " + view + '[' + r->name + ", " + n->name + " in 0:" + n->extent.text + ", " + d->name + "] = " + k.name + '[' + table.name + '[' + r->name + ", " +
        n->name + " div " + slot.text + "], " + n->name + " mod " + slot.text + ", " + d->name + ']');
  TensorInfo& s = b.temporary(DType::f32, {r->extent, n->extent});
  s.used = true;
  const std::string cached = view + '[' + r->name + ',' + n->name + ',' + d->name + ']';
  b.say(s.name + '[' + r->name + ',' + n->name + "] = sum[" + d->name + "](" + at(q, {r, d}) + " * " + cached + ')');
  TensorInfo& o = b.temporary(DType::f32, {r->extent, d->extent});
  const std::string domain = n->name + " where " + n->name + " < " + at(length, {r});
  if (b.options.exact) b.say(o.name + '[' + r->name + ',' + d->name + "] = sum[" + domain + "](" + at(s, {r, n}) + " + " + cached + ')');
  else b.say(o.name + '[' + r->name + ',' + d->name + "] = sum[" + n->name + "](softmax[" + domain + "](" + at(s, {r, n}) + ") * " + cached + ')');
}

/// Packed sequences, and grouped heads through a pair of axes.
void documents(Builder& b) {
  IndexInfo* j = b.new_index(b.some_size(3));
  IndexInfo* g = b.new_index(b.some_size(3));
  IndexInfo* m = b.new_index(b.some_size(30));
  IndexInfo* n = b.new_index(m->extent);
  IndexInfo* d = b.new_index(b.some_size(8));
  const Size heads{j->extent.text + '*' + g->extent.text, j->extent.value * g->extent.value};
  TensorInfo& q = b.parameter(b.float_type(), {heads, m->extent, d->extent});
  TensorInfo& k = b.parameter(q.type, {j->extent, m->extent, d->extent});
  TensorInfo& doc = b.parameter(DType::i32, {m->extent});
  doc.nondecreasing = true;
  q.used = k.used = doc.used = true;
  const std::string head = '(' + j->name + ',' + g->name + ')';
  TensorInfo& s = b.temporary(DType::f32, {j->extent, g->extent, m->extent, n->extent});
  s.used = true;
  b.say(s.name + '[' + j->name + ',' + g->name + ',' + m->name + ',' + n->name + "] = sum[" + d->name + "](" + q.name + '[' + head + ',' + m->name + ',' + d->name + "] * " +
        at(k, {j, n, d}) + ") / (1 + sqrt(" + d->extent.text + "))");
  TensorInfo& o = b.temporary(DType::f32, {heads, m->extent, d->extent});
  const std::string mask = (b.rng.chance(50) ? n->name + " <= " + m->name + " and " : "") + at(doc, {n}) + " == " + at(doc, {m});
  b.say(o.name + '[' + head + ',' + m->name + ',' + d->name + "] = sum[" + n->name + "](softmax[" + n->name + " where " + mask + "](" + at(s, {j, g, m, n}) + ") * " + at(k, {j, n, d}) + ')');
}

}  // namespace

void Builder::pattern_statement() {
  const int kind = rng.below(100);
  if (options.exact) {
    switch (kind % 5) {
      case 0: return window(*this);
      case 1: return routing(*this);
      case 2: return cross_entropy(*this);
      case 3: return distances(*this);
      default: return paged(*this);
    }
  }
  if (kind < 36) return attention(*this);
  if (kind < 50) return norm_like(*this);
  if (kind < 62) return window(*this);
  if (kind < 69) return routing(*this);
  if (kind < 76) return cross_entropy(*this);
  if (kind < 83) return variance(*this);
  if (kind < 89) return distances(*this);
  if (kind < 94) return paged(*this);
  return documents(*this);
}

}  // namespace quern::fuzz
