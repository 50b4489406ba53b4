import rewind.strategy as rs


@rs.score
def scaled(ctx, power: float = 0.5):
    return [w.abs() * layer.fan_in ** power for w, layer in zip(ctx.weights(), ctx.layers)]


@rs.mask
def best(ctx):
    return ctx.select(ctx.scores())


@rs.rewind
def back(ctx, to: rs.Point = "init"):
    return rs.to_point(to)
