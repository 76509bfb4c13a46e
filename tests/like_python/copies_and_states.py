"""Models, optimizers and schedulers carry nothing foreign: attributes, hooks, state_dict keys, copies, words."""

import copy

import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
loss_of = torch.nn.MSELoss()
for _ in range(4):
    optimizer.zero_grad()
    loss = loss_of(model(torch.randn(5, 3)), torch.randn(5, 1))
    loss.backward()
    optimizer.step()
    scheduler.step()
    plateau.step(loss.item())
for thing in (model, optimizer, scheduler, plateau, loss_of):
    print(type(thing), sorted(vars(thing)), "" if thing in (scheduler, plateau) else repr(thing))
    print(list(thing.state_dict()) if hasattr(thing, "state_dict") else "")
print(len(model[0]._forward_hooks), len(model[0]._backward_hooks), optimizer._optimizer_step_pre_hooks)
print([parameter._backward_hooks for parameter in model.parameters()], [sorted(vars(p)) for p in model.parameters()])
twin = copy.deepcopy(model)
print(all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True)))
print(optimizer.step.__name__, scheduler.step.__name__, model.train.__qualname__, torch.Tensor.item.__name__)
