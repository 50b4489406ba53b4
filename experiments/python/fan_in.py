import rewind.strategy as rs


@rs.score
def fan_in(ctx, power: float = 0.5):
    return [w.abs() * layer.fan_in ** power for w, layer in zip(ctx.weights(), ctx.layers)]
